// Structures and numbers of Linux's x86-64 system-call ABI that no lower floor knows. None of the
// structures has padding.
#pragma once

#include <cstddef>
#include <cstdint>

#include "proc/abi.h"

namespace holstein {

// pipe(2)'s int[2].
struct DescriptorPair {
  std::int32_t first;
  std::int32_t second;
};

// struct flock.
struct LinuxFlock {
  std::int16_t type;
  std::int16_t whence;
  std::int32_t padding;
  std::int64_t start;
  std::int64_t length;
  std::int32_t pid;
  std::int32_t padding_at_end;
};
static_assert(sizeof(LinuxFlock) == 32);

// fcntl(2)'s commands.
inline constexpr int kFcntlDuplicate = 0, kFcntlGetDescriptorFlags = 1;
inline constexpr int kFcntlSetDescriptorFlags = 2, kFcntlGetFlags = 3, kFcntlSetFlags = 4;
inline constexpr int kFcntlGetLock = 5, kFcntlSetLock = 6, kFcntlSetLockWait = 7;
inline constexpr int kFcntlOfdGetLock = 36, kFcntlOfdSetLock = 37, kFcntlOfdSetLockWait = 38;
inline constexpr int kFcntlDuplicateCloseOnExec = 1030;
inline constexpr int kFcntlSetPipeSize = 1031, kFcntlGetPipeSize = 1032, kFcntlGetSeals = 1034;

// ioctls that are the descriptor's, not the file's (asm-generic/ioctls.h).
inline constexpr std::uint32_t kIoctlNotCloseOnExec = 0x5450, kIoctlCloseOnExec = 0x5451;
inline constexpr std::uint32_t kIoctlNonBlocking = 0x5421;

// struct statx and its parts.
struct LinuxStatxTime {
  std::int64_t seconds;
  std::uint32_t nanoseconds;
  std::int32_t reserved;
};
struct LinuxStatx {
  std::uint32_t mask;
  std::uint32_t block_size;
  std::uint64_t attributes;
  std::uint32_t links;
  std::uint32_t uid;
  std::uint32_t gid;
  std::uint16_t mode;
  std::uint16_t padding;
  std::uint64_t inode;
  std::uint64_t size;
  std::uint64_t blocks;
  std::uint64_t attributes_mask;
  LinuxStatxTime accessed;
  LinuxStatxTime created;
  LinuxStatxTime changed;
  LinuxStatxTime modified;
  std::uint32_t special_device_major;
  std::uint32_t special_device_minor;
  std::uint32_t device_major;
  std::uint32_t device_minor;
  std::uint64_t mount_id;
  std::uint64_t spare[13];
};
static_assert(sizeof(LinuxStatx) == 256);

// struct utsname of uname(2): six fields of 65 bytes.
inline constexpr std::size_t kUtsFieldBytes = 65;
struct LinuxUtsname {
  char fields[6][kUtsFieldBytes];
};

// struct sysinfo.
struct LinuxSysinfo {
  std::int64_t uptime_seconds;
  std::uint64_t loads[3];
  std::uint64_t total_ram, free_ram, shared_ram, buffer_ram, total_swap, free_swap;
  std::uint16_t processes;
  std::uint16_t padding;
  std::uint32_t padding_to_high;
  std::uint64_t total_high, free_high;
  std::uint32_t unit;
  std::uint32_t padding_at_end;
};
static_assert(sizeof(LinuxSysinfo) == 112);

// struct pollfd.
struct LinuxPollfd {
  std::int32_t descriptor;
  std::int16_t events;
  std::int16_t revents;
};

// What pselect6's last argument points at.
struct SignalMaskArgument {
  std::uint64_t mask_address;
  std::uint64_t mask_bytes;
};

// struct open_how.
struct LinuxOpenHow {
  std::uint64_t flags;
  std::uint64_t mode;
  std::uint64_t resolve;
};

// struct utimbuf.
struct LinuxUtimbuf {
  std::int64_t accessed_seconds;
  std::int64_t modified_seconds;
};
struct TimespecPair {
  Timespec accessed;
  Timespec modified;
};
struct TimevalPair {
  Timeval accessed;
  Timeval modified;
};

// struct timezone.
struct LinuxTimezone {
  std::int32_t minutes_west;
  std::int32_t dst_time;
};

// capget(2).
struct LinuxCapabilityHeader {
  std::uint32_t version;
  std::int32_t pid;
};
struct LinuxCapabilityData {
  std::uint32_t effective;
  std::uint32_t permitted;
  std::uint32_t inheritable;
};

// struct sigevent (64 bytes, of which these are used).
struct LinuxSigevent {
  std::uint64_t value;
  std::int32_t signal;
  std::int32_t notify;
  std::int32_t thread_id;
  std::int32_t padding[11];
};
static_assert(sizeof(LinuxSigevent) == 64);

}  // namespace holstein
