// A file of the loader's volume: see file.h.
#include "efi_loader/file.h"

#include "efi_loader/bytes.h"

namespace holstein::loader {

Result<> File::open(const char* path, const char* name) {
  TRY_ASSIGN(const bool present, open_if_present(path, name));
  if (!present) return fail(kNotFound, path, " is missing from the boot volume");
  return {};
}

Result<bool> File::open_if_present(const char* path, const char* name) {
  name_ = name;
  const Status status = firmware_.open_file(path, file_);
  if (status == kNotFound) return false;
  if (status != kSuccess) {
    return fail(status, path, " cannot be opened (EFI status ", Hex{status}, ")");
  }
  open_ = true;
  if (file_.is_folder) return fail(kLoadError, path, " is a folder, not a file");
  if (file_.size_bytes > kAbsurdFileBytes) {
    return fail(kVolumeCorrupted, path, " claims the absurd size of ", Hex{file_.size_bytes},
                " bytes");
  }
  return true;
}

Result<> File::read_at(uint64_t offset, uint8_t* buffer, uint64_t bytes) {
  if (!fits_within(offset, bytes, file_.size_bytes)) {
    return fail(kLoadError, name_, " ends at byte ", file_.size_bytes, ", but bytes ", offset,
                " to ", offset + bytes, " are needed");
  }
  if (const Status status = firmware_.seek_file(file_, offset); status != kSuccess) {
    return fail(status, name_, ": seek to byte ", offset, " failed (EFI status ", Hex{status}, ")");
  }
  uint64_t done = 0;
  while (done < bytes) {
    const uint64_t wanted = bytes - done < kReadChunkBytes ? bytes - done : kReadChunkBytes;
    uint64_t got = wanted;
    const Status status = firmware_.read_file(file_, buffer + done, got);
    if (status != kSuccess) {
      return fail(status, name_, ": reading byte ", offset + done, " failed (EFI status ",
                  Hex{status}, ")");
    }
    if (got == 0) {
      return fail(kLoadError, name_, " ended after ", offset + done, " bytes of ",
                  file_.size_bytes);
    }
    if (got > wanted) {
      return fail(kDeviceError, name_, ": the firmware read ", got, " bytes where ", wanted,
                  " were asked for");
    }
    done += got;
    show_progress(done, bytes);
  }
  return {};
}

void File::show_progress(uint64_t done_bytes, uint64_t total_bytes) {
  if (total_bytes < kProgressStepBytes) return;
  if (done_bytes != total_bytes && done_bytes % kProgressStepBytes != 0) return;
  firmware_.write_console(line("\rholstein loader: ", name_, ": ", done_bytes / kMegabyte, " of ",
                               total_bytes / kMegabyte, " MiB",
                               done_bytes == total_bytes ? "\r\n" : "")
                              .c_str());
}

}  // namespace holstein::loader
