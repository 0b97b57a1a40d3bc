// libc++'s <string_view> names this type and, without wide characters, never uses it.
#pragma once

typedef struct {
  int unused;
} mbstate_t;
