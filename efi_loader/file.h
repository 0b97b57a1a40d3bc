// A file of the loader's volume: opened, measured, read in full or not at all.
#pragma once

#include "efi_loader/firmware.h"
#include "efi_loader/result.h"

namespace holstein::loader {

// One read of the firmware asks for at most this much: large enough that the firmware's cost for a
// call vanishes, small enough that a person sees something move.
inline constexpr uint64_t kReadChunkBytes = 16ULL << 20;
// Files from this size on show their progress on the console, a line's update for each such step.
inline constexpr uint64_t kProgressStepBytes = 64ULL << 20;
// A size beyond this is a broken file system's word, not a file's.
inline constexpr uint64_t kAbsurdFileBytes = 1ULL << 46;

// Invariant: `file_` is open from a successful open() to the destructor.
class File {
 public:
  explicit File(Firmware& firmware) : firmware_(firmware) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (open_) firmware_.close_file(file_);
  }

  // Opens `path`; `name` (which must outlive this) is what messages call it. Fails, with nothing
  // left open, where the file is missing, cannot be opened, is a folder, or claims an absurd size.
  Result<> open(const char* path, const char* name);
  // The same, but a missing file is no failure: false.
  Result<bool> open_if_present(const char* path, const char* name);

  // Reads exactly `bytes` at `offset`. On failure the buffer's contents are unspecified.
  Result<> read_at(uint64_t offset, uint8_t* buffer, uint64_t bytes);

  uint64_t size_bytes() const { return file_.size_bytes; }

 private:
  void show_progress(uint64_t done_bytes, uint64_t total_bytes);

  Firmware& firmware_;
  OpenFile file_ = {};
  const char* name_ = "";
  bool open_ = false;
};

}  // namespace holstein::loader
