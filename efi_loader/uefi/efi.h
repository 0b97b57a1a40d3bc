// gnu-efi's headers, as this project includes them.
#pragma once

extern "C" {
#include <efi.h>
}
