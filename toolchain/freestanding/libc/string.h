// The part of the C library's <string.h> that freestanding code may use. The binary that links it
// brings the definitions (lib/ has them for the kernel and the loader).
#pragma once

#include <stddef.h>

extern "C" {
void* memcpy(void* __restrict to, const void* __restrict from, size_t size);
void* memmove(void* to, const void* from, size_t size);
void* memset(void* to, int byte, size_t size);
int memcmp(const void* a, const void* b, size_t size);
void* memchr(const void* in, int byte, size_t size);
size_t strlen(const char* text);
size_t strnlen(const char* text, size_t max);
int strcmp(const char* a, const char* b);
int strncmp(const char* a, const char* b, size_t max);

// Declared because libc++'s <string.h> adds overloads to them; nobody defines them.
char* strchr(const char* in, int character);
char* strrchr(const char* in, int character);
char* strstr(const char* in, const char* what);
char* strpbrk(const char* in, const char* any_of);
}
