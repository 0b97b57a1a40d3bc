// Numbers and structures of Linux's x86-64 file ABI, as user programs see them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holstein {

// ---- open(2) flags ------------------------------------------------------------------------------
inline constexpr std::uint32_t kOpenAccessMode = 03;
inline constexpr std::uint32_t kOpenReadOnly = 00;
inline constexpr std::uint32_t kOpenWriteOnly = 01;
inline constexpr std::uint32_t kOpenReadWrite = 02;
inline constexpr std::uint32_t kOpenCreate = 0100;
inline constexpr std::uint32_t kOpenExclusive = 0200;
inline constexpr std::uint32_t kOpenNoTerminal = 0400;
inline constexpr std::uint32_t kOpenTruncate = 01000;
inline constexpr std::uint32_t kOpenAppend = 02000;
inline constexpr std::uint32_t kOpenNonBlock = 04000;
inline constexpr std::uint32_t kOpenDataSync = 010000;
inline constexpr std::uint32_t kOpenAsync = 020000;
inline constexpr std::uint32_t kOpenDirect = 040000;
inline constexpr std::uint32_t kOpenLargeFile = 0100000;
inline constexpr std::uint32_t kOpenDirectory = 0200000;
inline constexpr std::uint32_t kOpenNoFollow = 0400000;
inline constexpr std::uint32_t kOpenNoAccessTime = 01000000;
inline constexpr std::uint32_t kOpenCloseOnExec = 02000000;  // kept by the descriptor table
inline constexpr std::uint32_t kOpenSync = 04010000;
inline constexpr std::uint32_t kOpenPath = 010000000;
inline constexpr std::uint32_t kOpenTemporaryFile = 020200000;  // includes kOpenDirectory
// Flags that fcntl(F_SETFL) may change.
inline constexpr std::uint32_t kOpenChangeable =
    kOpenAppend | kOpenNonBlock | kOpenAsync | kOpenDirect | kOpenNoAccessTime;

// ---- Modes (st_mode) ----------------------------------------------------------------------------
inline constexpr std::uint32_t kModeTypeMask = 0170000;
inline constexpr std::uint32_t kModePermissions = 07777;
inline constexpr std::uint32_t kModeSetUid = 04000;
inline constexpr std::uint32_t kModeSetGid = 02000;
inline constexpr std::uint32_t kModeSticky = 01000;

// The values are those of d_type; shifted left by 12 they are st_mode's.
enum class FileType : std::uint8_t {
  kUnknown = 0,
  kFifo = 1,
  kCharacterDevice = 2,
  kDirectory = 4,
  kBlockDevice = 6,
  kRegular = 8,
  kSymlink = 10,
  kSocket = 12,
};
constexpr std::uint32_t mode_bits(FileType type) { return static_cast<std::uint32_t>(type) << 12; }
constexpr FileType type_of_mode(std::uint32_t mode) {
  return static_cast<FileType>((mode & kModeTypeMask) >> 12);
}

// ---- Paths --------------------------------------------------------------------------------------
inline constexpr std::size_t kMaxPathBytes = 4096;  // with the NUL
inline constexpr std::size_t kMaxNameBytes = 255;
inline constexpr unsigned kMaxSymlinks = 40;

// ---- access(2) ----------------------------------------------------------------------------------
inline constexpr std::uint32_t kMayExecute = 1;
inline constexpr std::uint32_t kMayWrite = 2;
inline constexpr std::uint32_t kMayRead = 4;

// ---- poll(2) and epoll(7) -----------------------------------------------------------------------
inline constexpr std::uint32_t kPollIn = 0x001;
inline constexpr std::uint32_t kPollPriority = 0x002;
inline constexpr std::uint32_t kPollOut = 0x004;
inline constexpr std::uint32_t kPollError = 0x008;
inline constexpr std::uint32_t kPollHangUp = 0x010;
inline constexpr std::uint32_t kPollInvalid = 0x020;
inline constexpr std::uint32_t kPollReadNormal = 0x040;
inline constexpr std::uint32_t kPollWriteNormal = 0x100;
inline constexpr std::uint32_t kPollReadHangUp = 0x2000;

// ---- lseek, fallocate, renameat2 ----------------------------------------------------------------
enum class Whence : std::uint32_t { kSet = 0, kCurrent = 1, kEnd = 2, kData = 3, kHole = 4 };

inline constexpr std::uint32_t kFallocKeepSize = 1;
inline constexpr std::uint32_t kFallocPunchHole = 2;
inline constexpr std::uint32_t kFallocZeroRange = 16;

inline constexpr std::uint32_t kRenameNoReplace = 1;
inline constexpr std::uint32_t kRenameExchange = 2;
inline constexpr std::uint32_t kRenameWhiteout = 4;

// ---- Times --------------------------------------------------------------------------------------
// Nanoseconds since 1970; enough until the year 2262.
using FileTime = std::int64_t;

// ---- Devices ------------------------------------------------------------------------------------
// dev_t as stat(2) gives it to user programs (glibc's makedev).
constexpr std::uint64_t make_device(std::uint32_t major, std::uint32_t minor) {
  return (static_cast<std::uint64_t>(major & 0xfffff000) << 32) |
         (static_cast<std::uint64_t>(major & 0xfff) << 8) |
         (static_cast<std::uint64_t>(minor & 0xffffff00) << 12) | (minor & 0xff);
}
constexpr std::uint32_t device_major(std::uint64_t device) {
  return static_cast<std::uint32_t>(((device >> 32) & 0xfffff000) | ((device >> 8) & 0xfff));
}
constexpr std::uint32_t device_minor(std::uint64_t device) {
  return static_cast<std::uint32_t>(((device >> 12) & 0xffffff00) | (device & 0xff));
}

// ---- Structures ---------------------------------------------------------------------------------
// struct stat.
struct LinuxStat {
  std::uint64_t device;
  std::uint64_t inode;
  std::uint64_t links;
  std::uint32_t mode;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint32_t padding;
  std::uint64_t special_device;
  std::int64_t size;
  std::int64_t block_size;
  std::int64_t blocks;  // of 512 bytes
  std::uint64_t access_seconds, access_nanoseconds;
  std::uint64_t modify_seconds, modify_nanoseconds;
  std::uint64_t change_seconds, change_nanoseconds;
  std::int64_t unused[3];
};
static_assert(sizeof(LinuxStat) == 144);

// struct statfs.
struct LinuxStatfs {
  std::int64_t type;
  std::int64_t block_size;
  std::uint64_t blocks;
  std::uint64_t blocks_free;
  std::uint64_t blocks_available;
  std::uint64_t files;
  std::uint64_t files_free;
  std::int32_t id[2];
  std::int64_t name_length;
  std::int64_t fragment_size;
  std::int64_t flags;
  std::int64_t spare[4];
};
static_assert(sizeof(LinuxStatfs) == 120);

// f_type values of statfs(2).
inline constexpr std::int64_t kTmpfsMagic = 0x01021994;
inline constexpr std::int64_t kProcMagic = 0x9fa0;
inline constexpr std::int64_t kPipefsMagic = 0x50495045;
inline constexpr std::int64_t kAnonInodeMagic = 0x09041934;

// ---- mount(2) -----------------------------------------------------------------------------------
inline constexpr std::uint64_t kMountReadOnly = 1;
inline constexpr std::uint64_t kMountNoSuid = 2;
inline constexpr std::uint64_t kMountNoDevices = 4;
inline constexpr std::uint64_t kMountNoExec = 8;
inline constexpr std::uint64_t kMountRemount = 32;
inline constexpr std::uint64_t kMountNoAccessTime = 1024;
inline constexpr std::uint64_t kMountBind = 4096;
inline constexpr std::uint64_t kMountRelativeAccessTime = 1 << 21;
inline constexpr std::uint64_t kUnmountForce = 1;
inline constexpr std::uint64_t kUnmountDetach = 2;
inline constexpr std::uint64_t kUnmountNoFollow = 8;

}  // namespace holstein
