// Empty: on Linux libc++ asks here which C library it stands on. It stands on none.
#pragma once
