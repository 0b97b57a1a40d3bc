// What files say of themselves, and changing it: stat, access, modes, owners, times, sizes.
#include "fs/mount.h"
#include "fs/operations.h"
#include "kernel/syscalls/handlers.h"

namespace holstein {
namespace {

Credentials caller() { return current_identity().file_credentials(); }

}  // namespace

// ---- stat
// ------------------------------------------------------------------------------------------

SystemCallResult sys_newfstatat(DirectoryDescriptor directory, UserPath path, UserOut<LinuxStat> to,
                                FlagsArgument flags) {
  if ((flags.bits & ~(kAtSymlinkNoFollow | kAtNoAutomount | kAtEmptyPath)) != 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const Path place, resolve_at(directory, path, flags.bits));
  return done(to.put(vfs::stat(place).to_stat()));
}
SystemCallResult sys_stat(UserPath path, UserOut<LinuxStat> to) {
  return sys_newfstatat(kWorkingDirectory, path, to, {.bits = 0});
}
SystemCallResult sys_lstat(UserPath path, UserOut<LinuxStat> to) {
  return sys_newfstatat(kWorkingDirectory, path, to, {.bits = kAtSymlinkNoFollow});
}
SystemCallResult sys_fstat(FileDescriptor descriptor, UserOut<LinuxStat> to) {
  TRY_ASSIGN(const RefPtr<File> file, file_of(descriptor));
  return done(to.put(vfs::stat(file->path()).to_stat()));
}

namespace {

LinuxStatxTime statx_time(FileTime time) {
  constexpr auto kSecond = static_cast<std::int64_t>(kNsPerSecond);
  std::int64_t seconds = time / kSecond;
  std::int64_t nanoseconds = time % kSecond;
  if (nanoseconds < 0) {
    nanoseconds += kSecond;
    --seconds;
  }
  return {
      .seconds = seconds, .nanoseconds = static_cast<std::uint32_t>(nanoseconds), .reserved = 0};
}

}  // namespace

SystemCallResult sys_statx(DirectoryDescriptor directory, UserPath path, FlagsArgument flags,
                           FlagsArgument mask, UserOut<LinuxStatx> to) {
  constexpr std::uint32_t kSyncType = 0x6000;
  constexpr std::uint32_t kReservedMask = 0x80000000;
  constexpr std::uint32_t kBasicStatsAndBirth = 0xfff;
  constexpr std::uint32_t kMountId = 0x1000;
  if ((mask.bits & kReservedMask) != 0 || (flags.bits & kSyncType) == kSyncType ||
      (flags.bits & ~(kAtSymlinkNoFollow | kAtNoAutomount | kAtEmptyPath | kSyncType)) != 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const Path place, resolve_at(directory, path, flags.bits));
  const Attributes attributes = vfs::stat(place);
  LinuxStatx statx{};
  statx.mask = kBasicStatsAndBirth | kMountId;
  statx.block_size = attributes.block_size;
  statx.links = static_cast<std::uint32_t>(attributes.links);
  statx.uid = attributes.uid;
  statx.gid = attributes.gid;
  statx.mode = static_cast<std::uint16_t>(attributes.mode());
  statx.inode = attributes.inode;
  statx.size = attributes.size_bytes;
  statx.blocks = attributes.blocks;
  statx.accessed = statx_time(attributes.accessed);
  statx.created = statx_time(attributes.created);
  statx.changed = statx_time(attributes.changed);
  statx.modified = statx_time(attributes.modified);
  statx.special_device_major = device_major(attributes.special_device);
  statx.special_device_minor = device_minor(attributes.special_device);
  statx.device_major = device_major(attributes.device);
  statx.device_minor = device_minor(attributes.device);
  statx.mount_id = place.mount->id();
  return done(to.put(statx));
}

SystemCallResult sys_statfs(UserPath path, UserOut<LinuxStatfs> to) {
  TRY_ASSIGN(const Path place, resolve_at(kWorkingDirectory, path, 0));
  return done(to.put(vfs::statistics(place)));
}
SystemCallResult sys_fstatfs(FileDescriptor descriptor, UserOut<LinuxStatfs> to) {
  TRY_ASSIGN(const RefPtr<File> file, file_of(descriptor));
  return done(to.put(vfs::statistics(file->path())));
}

// ---- access
// ----------------------------------------------------------------------------------------

SystemCallResult sys_faccessat2(DirectoryDescriptor directory, UserPath path, ModeArgument mode,
                                FlagsArgument flags) {
  if ((mode.bits & ~(kMayRead | kMayWrite | kMayExecute)) != 0 ||
      (flags.bits & ~(kAtEffectiveAccess | kAtSymlinkNoFollow | kAtEmptyPath)) != 0) {
    return fail(Errno::kEINVAL);
  }
  FetchedString text;
  TRY(text.fetch(path));
  TRY_ASSIGN(const PathBase base, PathBase::of(directory, text.view()));
  const PathContext context = (flags.bits & kAtEffectiveAccess) != 0
                                  ? current_path_context()
                                  : current_path_context_with_real_ids();
  TRY_ASSIGN(const Path place,
             resolve(context, base.get(), text.view(),
                     ((flags.bits & kAtSymlinkNoFollow) != 0 ? 0 : kResolveFollow) |
                         ((flags.bits & kAtEmptyPath) != 0 ? kResolveEmpty : 0)));
  return done(vfs::check_access(place, mode.bits, context.credentials));
}
SystemCallResult sys_faccessat(DirectoryDescriptor directory, UserPath path, ModeArgument mode) {
  return sys_faccessat2(directory, path, mode, {.bits = 0});
}
SystemCallResult sys_access(UserPath path, ModeArgument mode) {
  return sys_faccessat2(kWorkingDirectory, path, mode, {.bits = 0});
}

// ---- chmod and chown
// ---------------------------------------------------------------------------------

SystemCallResult sys_fchmodat(DirectoryDescriptor directory, UserPath path, ModeArgument mode) {
  TRY_ASSIGN(const Path place, resolve_at(directory, path, 0));
  return done(vfs::change_mode(place, mode.bits & kModePermissions, caller()));
}
SystemCallResult sys_chmod(UserPath path, ModeArgument mode) {
  return sys_fchmodat(kWorkingDirectory, path, mode);
}
SystemCallResult sys_fchmod(FileDescriptor descriptor, ModeArgument mode) {
  TRY_ASSIGN(const RefPtr<File> file, usable_file_of(descriptor));
  return done(vfs::change_mode(file->path(), mode.bits & kModePermissions, caller()));
}

SystemCallResult sys_fchownat(DirectoryDescriptor directory, UserPath path, std::uint32_t uid,
                              std::uint32_t gid, FlagsArgument flags) {
  if ((flags.bits & ~(kAtSymlinkNoFollow | kAtEmptyPath)) != 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const Path place, resolve_at(directory, path, flags.bits));
  return done(vfs::change_owner(place, uid, gid, caller()));
}
SystemCallResult sys_chown(UserPath path, std::uint32_t uid, std::uint32_t gid) {
  return sys_fchownat(kWorkingDirectory, path, uid, gid, {.bits = 0});
}
SystemCallResult sys_lchown(UserPath path, std::uint32_t uid, std::uint32_t gid) {
  return sys_fchownat(kWorkingDirectory, path, uid, gid, {.bits = kAtSymlinkNoFollow});
}
SystemCallResult sys_fchown(FileDescriptor descriptor, std::uint32_t uid, std::uint32_t gid) {
  TRY_ASSIGN(const RefPtr<File> file, usable_file_of(descriptor));
  return done(vfs::change_owner(file->path(), uid, gid, caller()));
}

// ---- Times
// -----------------------------------------------------------------------------------------

namespace {

constexpr std::int64_t kTimeNow = (1 << 30) - 1;   // UTIME_NOW
constexpr std::int64_t kTimeOmit = (1 << 30) - 2;  // UTIME_OMIT

Result<vfs::TimeChange> to_time_change(const Timespec& time) {
  using Kind = vfs::TimeChange::Kind;
  if (time.nanoseconds == kTimeNow) {
    return vfs::TimeChange{.kind = Kind::kNow};
  }
  if (time.nanoseconds == kTimeOmit) {
    return vfs::TimeChange{.kind = Kind::kOmit};
  }
  if (time.nanoseconds < 0 || time.nanoseconds >= static_cast<std::int64_t>(kNsPerSecond)) {
    return fail(Errno::kEINVAL);
  }
  // A FileTime reaches to the year 2262; what lies beyond is cut, as Linux does it for tmpfs.
  FileTime nanoseconds = 0;
  if (__builtin_mul_overflow(time.seconds, static_cast<std::int64_t>(kNsPerSecond), &nanoseconds) ||
      __builtin_add_overflow(nanoseconds, time.nanoseconds, &nanoseconds)) {
    nanoseconds = time.seconds < 0 ? INT64_MIN : INT64_MAX;
  }
  return vfs::TimeChange{.kind = Kind::kSet, .time = nanoseconds};
}

struct TimeChanges {
  vfs::TimeChange accessed{.kind = vfs::TimeChange::Kind::kNow};
  vfs::TimeChange modified{.kind = vfs::TimeChange::Kind::kNow};
  static Result<TimeChanges> from(const Timespec& accessed, const Timespec& modified) {
    TimeChanges changes;
    TRY_ASSIGN(changes.accessed, to_time_change(accessed));
    TRY_ASSIGN(changes.modified, to_time_change(modified));
    return changes;
  }
  // Both times of a pair of Timevals; null means now.
  static Result<TimeChanges> from_timevals(const UserIn<TimevalPair>& times) {
    if (times.is_null()) {
      return TimeChanges();
    }
    TRY_ASSIGN(const TimevalPair pair, times.get());
    for (const Timeval& time : {pair.accessed, pair.modified}) {
      if (time.microseconds < 0 || time.microseconds >= 1'000'000) {
        return fail(Errno::kEINVAL);
      }
    }
    return from(
        {.seconds = pair.accessed.seconds, .nanoseconds = pair.accessed.microseconds * 1000},
        {.seconds = pair.modified.seconds, .nanoseconds = pair.modified.microseconds * 1000});
  }
};

SystemCallResult change_times_at(DirectoryDescriptor directory, const UserPath& path,
                                 const TimeChanges& changes, std::uint32_t at_flags) {
  TRY_ASSIGN(const Path place, resolve_at(directory, path, at_flags));
  return done(vfs::change_times(place, changes.accessed, changes.modified, caller()));
}

}  // namespace

SystemCallResult sys_utimensat(DirectoryDescriptor directory, UserPath path,
                               UserIn<TimespecPair> times, FlagsArgument flags) {
  if ((flags.bits & ~(kAtSymlinkNoFollow | kAtEmptyPath)) != 0) {
    return fail(Errno::kEINVAL);
  }
  TimeChanges changes;
  if (!times.is_null()) {
    TRY_ASSIGN(const TimespecPair pair, times.get());
    TRY_ASSIGN(changes, TimeChanges::from(pair.accessed, pair.modified));
  }
  if (path.string.is_null() && directory.number != kAtCurrentDirectory) {
    // futimens: the descriptor itself.
    if (flags.bits != 0) {
      return fail(Errno::kEINVAL);
    }
    TRY_ASSIGN(const RefPtr<File> file, usable_file_of({.number = directory.number}));
    return done(vfs::change_times(file->path(), changes.accessed, changes.modified, caller()));
  }
  return change_times_at(directory, path, changes, flags.bits);
}

SystemCallResult sys_futimesat(DirectoryDescriptor directory, UserPath path,
                               UserIn<TimevalPair> times) {
  TRY_ASSIGN(const TimeChanges changes, TimeChanges::from_timevals(times));
  return change_times_at(directory, path, changes, 0);
}
SystemCallResult sys_utimes(UserPath path, UserIn<TimevalPair> times) {
  return sys_futimesat(kWorkingDirectory, path, times);
}
SystemCallResult sys_utime(UserPath path, UserIn<LinuxUtimbuf> times) {
  TimeChanges changes;
  if (!times.is_null()) {
    TRY_ASSIGN(const LinuxUtimbuf pair, times.get());
    TRY_ASSIGN(changes, TimeChanges::from({.seconds = pair.accessed_seconds, .nanoseconds = 0},
                                          {.seconds = pair.modified_seconds, .nanoseconds = 0}));
  }
  return change_times_at(kWorkingDirectory, path, changes, 0);
}

SystemCallResult sys_truncate(UserPath path, std::int64_t size_bytes) {
  if (size_bytes < 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const Path place, resolve_at(kWorkingDirectory, path, 0));
  return done(vfs::truncate(place, size_bytes, caller()));
}

}  // namespace holstein
