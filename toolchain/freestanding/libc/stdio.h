// What libc++'s own headers need of <stdio.h>; nothing here is defined anywhere.
#pragma once

#define EOF (-1)

extern "C" int remove(const char* path);
