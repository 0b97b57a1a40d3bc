// Opening and closing, duplicates, and what fcntl, flock and ioctl do to descriptors.
#include "fs/inode.h"
#include "fs/locks.h"
#include "fs/operations.h"
#include "fs/pipe.h"
#include "kernel/syscalls/handlers.h"
#include "proc/fork.h"
#include "proc/limits.h"

namespace holstein {
namespace {

std::uint64_t descriptor_limit() { return current_limit(Resource::kNofile); }

CloseOnExec close_on_exec_of(std::uint32_t open_flags) {
  return (open_flags & kOpenCloseOnExec) != 0 ? CloseOnExec::kYes : CloseOnExec::kNo;
}

SystemCallResult open_path(DirectoryDescriptor directory, const UserPath& path, std::uint32_t flags,
                           std::uint32_t mode) {
  FetchedString text;
  TRY(text.fetch(path));
  TRY_ASSIGN(const PathBase base, PathBase::of(directory, text.view()));
  TRY_ASSIGN(RefPtr<File> file,
             vfs::open(current_path_context(), base.get(), text.view(), flags, mode));
  return number(current_thread().own_files().install(std::move(file), close_on_exec_of(flags),
                                                     descriptor_limit()));
}

}  // namespace

SystemCallResult sys_open(UserPath path, FlagsArgument flags, ModeArgument mode) {
  return open_path(kWorkingDirectory, path, flags.bits | kOpenLargeFile, mode.bits);
}

SystemCallResult sys_openat(DirectoryDescriptor directory, UserPath path, FlagsArgument flags,
                            ModeArgument mode) {
  return open_path(directory, path, flags.bits | kOpenLargeFile, mode.bits);
}

SystemCallResult sys_creat(UserPath path, ModeArgument mode) {
  return open_path(kWorkingDirectory, path,
                   kOpenCreate | kOpenWriteOnly | kOpenTruncate | kOpenLargeFile, mode.bits);
}

SystemCallResult sys_close(FileDescriptor descriptor) {
  return done(current_thread().own_files().close(descriptor.number));
}

SystemCallResult sys_close_range(std::uint32_t first, std::uint32_t last, FlagsArgument flags) {
  constexpr std::uint32_t kUnshare = 2;
  constexpr std::uint32_t kCloseOnExecFlag = 4;
  if ((flags.bits & ~(kUnshare | kCloseOnExecFlag)) != 0 || first > last) {
    return fail(Errno::kEINVAL);
  }
  if ((flags.bits & kUnshare) != 0) {
    TRY(holstein::unshare(kCloneFiles));
  }
  return done(current_thread().own_files().change_range(
      first, last,
      (flags.bits & kCloseOnExecFlag) != 0 ? FileTable::RangeAction::kSetCloseOnExec
                                           : FileTable::RangeAction::kClose));
}

SystemCallResult sys_dup(FileDescriptor descriptor) {
  return number(current_thread().own_files().duplicate(descriptor.number, 0, CloseOnExec::kNo,
                                                       descriptor_limit()));
}

SystemCallResult sys_dup2(FileDescriptor from, FileDescriptor to) {
  if (from.number == to.number) {
    TRY(file_of(from));
    return to.number;
  }
  TRY(current_thread().own_files().duplicate_to(from.number, to.number, CloseOnExec::kNo,
                                                descriptor_limit()));
  return to.number;
}

SystemCallResult sys_dup3(FileDescriptor from, FileDescriptor to, FlagsArgument flags) {
  if ((flags.bits & ~kOpenCloseOnExec) != 0 || from.number == to.number) {
    return fail(Errno::kEINVAL);
  }
  TRY(current_thread().own_files().duplicate_to(from.number, to.number,
                                                close_on_exec_of(flags.bits), descriptor_limit()));
  return to.number;
}

SystemCallResult sys_pipe2(UserOut<DescriptorPair> pair, FlagsArgument flags) {
  if ((flags.bits & ~(kOpenCloseOnExec | kOpenNonBlock | kOpenDirect)) != 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(PipeEnds ends,
             make_pipe(flags.bits & ~kOpenCloseOnExec, current_identity().file_credentials()));
  FileTable& files = current_thread().own_files();
  TRY_ASSIGN(const FileTable::Pair numbers,
             files.install_pair(std::move(ends.reader), std::move(ends.writer),
                                close_on_exec_of(flags.bits), descriptor_limit()));
  if (Result<void> stored = pair.put({.first = numbers.first, .second = numbers.second}); !stored) {
    (void)files.close(numbers.first);
    (void)files.close(numbers.second);
    return fail(stored.error());
  }
  return 0;
}

SystemCallResult sys_pipe(UserOut<DescriptorPair> pair) { return sys_pipe2(pair, {.bits = 0}); }

SystemCallResult sys_memfd_create(UserString name, FlagsArgument flags) {
  constexpr std::uint32_t kCloseOnExecFlag = 1;
  constexpr std::uint32_t kAllowSealing = 2;
  constexpr std::size_t kMaxNameWithNul = 250;  // man 2 memfd_create: 249 bytes
  if ((flags.bits & ~(kCloseOnExecFlag | kAllowSealing)) != 0) {
    return fail(Errno::kEINVAL);
  }
  FetchedString text;
  const Result<void> fetched = text.fetch(name, kMaxNameWithNul);
  if (!fetched) {
    return fail(fetched.error() == Errno::kENAMETOOLONG ? Errno::kEINVAL : fetched.error());
  }
  TRY_ASSIGN(RefPtr<File> file,
             vfs::make_memory_file(text.view(), current_identity().file_credentials()));
  return number(current_thread().own_files().install(
      std::move(file), (flags.bits & kCloseOnExecFlag) != 0 ? CloseOnExec::kYes : CloseOnExec::kNo,
      descriptor_limit()));
}

// ---- flock and record locks
// --------------------------------------------------------------------------

SystemCallResult sys_flock(FileDescriptor descriptor, int operation) {
  constexpr int kShared = 1;
  constexpr int kExclusive = 2;
  constexpr int kNonBlocking = 4;
  constexpr int kUnlock = 8;
  LockKind kind = LockKind::kUnlock;
  switch (operation & ~kNonBlocking) {
    case kShared:
      kind = LockKind::kShared;
      break;
    case kExclusive:
      kind = LockKind::kExclusive;
      break;
    case kUnlock:
      break;
    default:
      return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const RefPtr<File> file, usable_file_of(descriptor));
  TRY_ASSIGN(FileLocks * locks, file->inode().locks());
  return done(
      locks->flock(file.get(), kind,
                   (operation & kNonBlocking) != 0 ? FileLocks::Wait::kNo : FileLocks::Wait::kYes));
}

namespace {

constexpr std::int16_t kReadLock = 0;
constexpr std::int16_t kWriteLock = 1;
constexpr std::int16_t kNoLock = 2;
constexpr std::uint64_t kEndOfFile = UINT64_MAX >> 1;

// The record that a struct flock means: EINVAL, EOVERFLOW.
Result<RecordLock> to_record(File& file, const LinuxFlock& from, const void* owner,
                             std::int32_t pid) {
  RecordLock record;
  record.owner = owner;
  record.pid = pid;
  switch (from.type) {
    case kReadLock:
      record.kind = LockKind::kShared;
      break;
    case kWriteLock:
      record.kind = LockKind::kExclusive;
      break;
    case kNoLock:
      record.kind = LockKind::kUnlock;
      break;
    default:
      return fail(Errno::kEINVAL);
  }
  std::int64_t base = 0;
  if (from.whence == static_cast<std::int16_t>(Whence::kCurrent)) {
    base = file.position();
  } else if (from.whence == static_cast<std::int16_t>(Whence::kEnd)) {
    base = static_cast<std::int64_t>(file.inode().attributes().size_bytes);
  } else if (from.whence != static_cast<std::int16_t>(Whence::kSet)) {
    return fail(Errno::kEINVAL);
  }
  std::int64_t start = 0;
  std::int64_t end = 0;
  if (__builtin_add_overflow(base, from.start, &start)) {
    return fail(Errno::kEOVERFLOW);
  }
  if (from.length > 0) {
    if (__builtin_add_overflow(start, from.length - 1, &end)) {
      return fail(Errno::kEOVERFLOW);
    }
  } else if (from.length < 0) {
    end = start - 1;
    if (__builtin_add_overflow(start, from.length, &start)) {
      return fail(Errno::kEINVAL);
    }
  } else {
    end = static_cast<std::int64_t>(kEndOfFile);
  }
  if (start < 0) {
    return fail(Errno::kEINVAL);
  }
  record.start = static_cast<std::uint64_t>(start);
  record.end = static_cast<std::uint64_t>(end);
  return record;
}

enum class LockFamily : std::uint8_t { kProcess, kOpenFile };

SystemCallResult record_lock(const RefPtr<File>& file, int command, RawArgument argument,
                             LockFamily family) {
  const auto user = UserInOut<LinuxFlock>::from_value(argument.value);
  TRY_ASSIGN(LinuxFlock wanted, user.get());
  const bool is_query = command == kFcntlGetLock || command == kFcntlOfdGetLock;
  if (family == LockFamily::kOpenFile && wanted.pid != 0) {
    return fail(Errno::kEINVAL);
  }
  const void* owner = family == LockFamily::kOpenFile
                          ? static_cast<const void*>(file.get())
                          : static_cast<const void*>(&current_thread().own_files());
  TRY_ASSIGN(const RecordLock record,
             to_record(*file, wanted, owner,
                       family == LockFamily::kOpenFile ? -1 : current_process().pid()));
  TRY_ASSIGN(FileLocks * locks, file->inode().locks());
  if (is_query) {
    if (record.kind == LockKind::kUnlock) {
      return fail(Errno::kEINVAL);
    }
    const RecordLock conflict = locks->find_conflict(record);
    if (conflict.kind == LockKind::kUnlock) {
      wanted.type = kNoLock;
    } else {
      wanted.type = conflict.kind == LockKind::kShared ? kReadLock : kWriteLock;
      wanted.whence = static_cast<std::int16_t>(Whence::kSet);
      wanted.start = static_cast<std::int64_t>(conflict.start);
      wanted.length = conflict.end == kEndOfFile
                          ? 0
                          : static_cast<std::int64_t>(conflict.end - conflict.start + 1);
      wanted.pid = conflict.pid;
    }
    return done(user.put(wanted));
  }
  if ((record.kind == LockKind::kShared && !file->is_readable()) ||
      (record.kind == LockKind::kExclusive && !file->is_writable())) {
    return fail(Errno::kEBADF);
  }
  const bool waits = command == kFcntlSetLockWait || command == kFcntlOfdSetLockWait;
  return done(locks->set_record(record, waits ? FileLocks::Wait::kYes : FileLocks::Wait::kNo));
}

SystemCallResult duplicate_from(FileDescriptor descriptor, RawArgument from,
                                CloseOnExec close_on_exec) {
  const auto lowest = static_cast<std::uint32_t>(from.value);
  if (lowest >= descriptor_limit() || lowest > INT32_MAX) {
    return fail(Errno::kEINVAL);
  }
  return number(current_thread().own_files().duplicate(
      descriptor.number, static_cast<Descriptor>(lowest), close_on_exec, descriptor_limit()));
}

SystemCallResult pipe_size_call(File& file, int command, RawArgument argument) {
  Pipe* pipe = file.pipe();
  if (pipe == nullptr) {
    return fail(Errno::kEBADF);
  }
  if (command == kFcntlGetPipeSize) {
    return static_cast<std::int64_t>(pipe->capacity());
  }
  return number(pipe->set_capacity(static_cast<std::uint32_t>(argument.value),
                                   current_identity().file_credentials()));
}

}  // namespace

SystemCallResult sys_fcntl(FileDescriptor descriptor, int command, RawArgument argument) {
  TRY_ASSIGN(const RefPtr<File> file, file_of(descriptor));
  FileTable& files = current_thread().own_files();
  // O_PATH descriptors know these only.
  switch (command) {
    case kFcntlDuplicate:
      return duplicate_from(descriptor, argument, CloseOnExec::kNo);
    case kFcntlDuplicateCloseOnExec:
      return duplicate_from(descriptor, argument, CloseOnExec::kYes);
    case kFcntlGetDescriptorFlags: {
      TRY_ASSIGN(const CloseOnExec value, files.close_on_exec(descriptor.number));
      return value == CloseOnExec::kYes ? 1 : 0;
    }
    case kFcntlSetDescriptorFlags:
      return done(files.set_close_on_exec(
          descriptor.number, (argument.value & 1) != 0 ? CloseOnExec::kYes : CloseOnExec::kNo));
    case kFcntlGetFlags:
      return file->flags();
    default:
      break;
  }
  if (file->is_path_only()) {
    return fail(Errno::kEBADF);
  }
  switch (command) {
    case kFcntlSetFlags:
      file->set_flags(static_cast<std::uint32_t>(argument.value));
      return 0;
    case kFcntlGetLock:
    case kFcntlSetLock:
    case kFcntlSetLockWait:
      return record_lock(file, command, argument, LockFamily::kProcess);
    case kFcntlOfdGetLock:
    case kFcntlOfdSetLock:
    case kFcntlOfdSetLockWait:
      return record_lock(file, command, argument, LockFamily::kOpenFile);
    case kFcntlGetPipeSize:
    case kFcntlSetPipeSize:
      return pipe_size_call(*file, command, argument);
    case kFcntlGetSeals: {
      const int seals = file->inode().seals();
      if (seals < 0) {
        return fail(Errno::kEINVAL);
      }
      return seals;
    }
    default:
      return fail(Errno::kEINVAL);
  }
}

SystemCallResult sys_ioctl(FileDescriptor descriptor, std::uint32_t command, RawArgument argument) {
  TRY_ASSIGN(const RefPtr<File> file, usable_file_of(descriptor));
  FileTable& files = current_thread().own_files();
  switch (command) {
    case kIoctlCloseOnExec:
      return done(files.set_close_on_exec(descriptor.number, CloseOnExec::kYes));
    case kIoctlNotCloseOnExec:
      return done(files.set_close_on_exec(descriptor.number, CloseOnExec::kNo));
    case kIoctlNonBlocking: {
      TRY_ASSIGN(const std::int32_t enabled,
                 UserIn<std::int32_t>::from_value(argument.value).get());
      file->set_flags(enabled != 0 ? file->flags() | kOpenNonBlock
                                   : file->flags() & ~kOpenNonBlock);
      return 0;
    }
    default:
      return file->ioctl(command, argument.value);
  }
}

}  // namespace holstein
