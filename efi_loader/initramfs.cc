// The initramfs: see initramfs.h.
#include "efi_loader/initramfs.h"

#include "efi_loader/bytes.h"
#include "efi_loader/file.h"

namespace holstein::loader {
namespace {

constexpr const char* kPath = "\\holstein\\initramfs.cpio";
constexpr const char* kName = "initramfs.cpio";

// A header is the magic and 13 numbers of 8 hexadecimal digits; then come the name and the file's
// bytes, each padded to a multiple of 4 from the archive's start.
constexpr uint64_t kHeaderBytes = 110;
constexpr uint64_t kFileSizeAt = 54;
constexpr uint64_t kNameSizeAt = 94;
constexpr uint64_t kMaxNameBytes = 4096;  // with its NUL, as Linux's PATH_MAX
constexpr char kTrailer[] = "TRAILER!!!";

bool has_magic(const uint8_t* header) {
  return __builtin_memcmp(header, "07070", 5) == 0 && (header[5] == '1' || header[5] == '2');
}

// 8 hexadecimal digits; false where one is none.
bool parse_hex(const uint8_t* digits, uint64_t& value) {
  value = 0;
  for (int i = 0; i < 8; ++i) {
    const uint8_t c = digits[i];
    uint64_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else {
      return false;
    }
    value = value << 4 | digit;
  }
  return true;
}

std::unexpected<Failure> cut_short(uint64_t offset, uint64_t bytes) {
  return fail(kLoadError, kName, " is cut short: the entry at byte ", offset,
              " reaches beyond its ", bytes, " bytes");
}

}  // namespace

Result<uint64_t> check_cpio(std::span<const uint8_t> archive) {
  const uint64_t bytes = archive.size();
  uint64_t entries = 0;
  uint64_t offset = 0;
  while (true) {
    if (offset >= bytes) {
      return fail(kLoadError, kName, " is cut short: no TRAILER!!! after ", entries, " entries");
    }
    if (!fits_within(offset, kHeaderBytes, bytes)) {
      if (offset == 0) {
        return fail(kLoadError, kName, " is too short for a cpio archive: ", bytes, " bytes");
      }
      return cut_short(offset, bytes);
    }
    const uint8_t* header = &archive[offset];
    if (!has_magic(header)) {
      if (offset == 0) {
        return fail(kLoadError, kName, " is not a cpio archive in the newc format",
                    header[0] == 0x1f && header[1] == 0x8b ? "; it is compressed" : "");
      }
      return fail(kLoadError, kName, " is damaged: no cpio header at byte ", offset);
    }
    uint64_t file_bytes = 0;
    uint64_t name_bytes = 0;
    if (!parse_hex(header + kFileSizeAt, file_bytes) ||
        !parse_hex(header + kNameSizeAt, name_bytes) || name_bytes == 0 ||
        name_bytes > kMaxNameBytes) {
      return fail(kLoadError, kName, " is damaged: bad numbers in the cpio header at byte ",
                  offset);
    }
    const uint64_t name_at = offset + kHeaderBytes;
    if (!fits_within(name_at, name_bytes, bytes)) return cut_short(offset, bytes);
    if (archive[name_at + name_bytes - 1] != 0) {
      return fail(kLoadError, kName, " is damaged: a name without an end at byte ", name_at);
    }
    // More NULs may follow.
    if (name_bytes >= sizeof(kTrailer) &&
        __builtin_memcmp(&archive[name_at], kTrailer, sizeof(kTrailer)) == 0) {
      return entries;
    }
    const uint64_t data_at = align_up(name_at + name_bytes, 4);
    if (!fits_within(data_at, file_bytes, bytes)) return cut_short(offset, bytes);
    offset = align_up(data_at + file_bytes, 4);
    ++entries;
  }
}

Result<Initramfs> load_initramfs(Firmware& firmware) {
  File file(firmware);
  TRY(file.open(kPath, kName));
  const uint64_t bytes = file.size_bytes();
  if (bytes == 0) return fail(kLoadError, kPath, " is empty");
  TRY_ASSIGN(const Block block, allocate_block(firmware, MemoryType::kLoaderData, bytes, kPageSize,
                                               Contents::kUnspecified, kName));
  __builtin_memset(block.memory + bytes, 0, block.bytes - bytes);
  TRY(file.read_at(0, block.memory, bytes));
  TRY_ASSIGN(const uint64_t entries, check_cpio(std::span(block.memory, bytes)));
  if (entries == 0) return fail(kLoadError, kName, " holds no files");
  return Initramfs{.physical = block.physical, .bytes = bytes};
}

}  // namespace holstein::loader
