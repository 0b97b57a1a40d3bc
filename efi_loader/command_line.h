// The kernel's command line: \holstein\cmdline, then what the boot entry adds (its LoadOptions).
#pragma once

#include "efi_loader/firmware.h"
#include "efi_loader/result.h"

namespace holstein::loader {

inline constexpr uint64_t kMaxCommandLineBytes = 4095;  // without the NUL

// Invariant: `text` is printable ASCII, `bytes` long, NUL-terminated.
struct CommandLine {
  char text[kMaxCommandLineBytes + 1];
  uint64_t bytes;
};

// Fills `result`. A missing file is an empty line. Fails where the file is not one line of
// printable ASCII (a line end at its end is dropped, tabs become spaces) or does not fit.
Result<> read_command_line(Firmware& firmware, CommandLine& result);

// Adds LoadOptions, a UTF-16 string as the firmware stored it, after a space. Firmware also keeps
// binary data of its own there, so anything but printable ASCII, and what does not fit, is ignored:
// false. A shell puts the program's name first: a first word that ends in ".efi" is dropped.
bool append_load_options(CommandLine& line, const uint8_t* options, uint64_t options_bytes);

// Whether `word` stands in the line by itself, outside of double quotes and before a word "--"
// (what follows that is not for the kernel).
bool has_word(const CommandLine& line, const char* word);

}  // namespace holstein::loader
