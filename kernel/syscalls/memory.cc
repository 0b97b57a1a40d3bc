// Address spaces: mmap and its family, and access to other processes' memory.
#include <algorithm>

#include "fs/file.h"
#include "fs/inspection.h"
#include "kernel/syscalls/handlers.h"
#include "proc/exec.h"
#include "proc/limits.h"
#include "proc/process.h"
#include "uaccess/fetch_recorder.h"
#include "uaccess/io_iterator.h"
#include "uaccess/iovec.h"

namespace holstein {
namespace {

AddressSpace& space() { return *current_process().own_space(); }

// mmap(2)'s flags.
constexpr std::uint64_t kMapShared = 0x01, kMapPrivate = 0x02, kMapSharedValidate = 0x03;
constexpr std::uint64_t kMapTypeMask = 0x0f;
constexpr std::uint64_t kMapFixed = 0x10, kMapAnonymous = 0x20, kMapGrowsDown = 0x100;
constexpr std::uint64_t kMapLocked = 0x2000, kMapNoReserve = 0x4000, kMapPopulate = 0x8000;
constexpr std::uint64_t kMapNonBlock = 0x10000, kMapStack = 0x20000, kMapHugeTlb = 0x40000;
constexpr std::uint64_t kMapFixedNoReplace = 0x100000;
constexpr std::uint64_t kMapDenyWrite = 0x0800, kMapExecutable = 0x1000, kMap32Bit = 0x40;
// What MAP_SHARED_VALIDATE accepts.
constexpr std::uint64_t kMapKnown = kMapTypeMask | kMapFixed | kMapAnonymous | kMapGrowsDown |
                                    kMapLocked | kMapNoReserve | kMapPopulate | kMapNonBlock |
                                    kMapStack | kMapFixedNoReplace | kMapDenyWrite |
                                    kMapExecutable | kMap32Bit;

constexpr std::uint64_t kProtectionMask = kProtRead | kProtWrite | kProtExec;

std::uint32_t protection_of(std::uint64_t protection) {
  auto result = static_cast<std::uint32_t>(protection & kProtectionMask);
  if ((result & kProtRead) != 0 && (current_process().personality.load() & kReadImpliesExec) != 0) {
    result |= kProtExec;
  }
  return result;
}

// Fills in what an mmap of `file` maps. EACCES, ENODEV, EPERM.
Result<void> map_file(MapRequest& request, File& file, bool is_shared) {
  if (!file.is_readable()) {
    return fail(Errno::kEACCES);
  }
  if (is_shared && (request.protection & kProtWrite) != 0 && !file.is_writable()) {
    return fail(Errno::kEACCES);
  }
  TRY_ASSIGN(FileMapping mapping, file.map());
  request.cache = std::move(mapping.cache);
  request.file = std::move(mapping.file);
  if (is_shared && !file.is_writable()) {
    request.max_protection &= ~kProtWrite;
  }
  return {};
}

}  // namespace

SystemCallResult sys_mmap(UserAddress address, std::uint64_t size_bytes, std::uint64_t protection,
                          FlagsArgument64 flags, FileDescriptor descriptor, std::uint64_t offset) {
  if (!is_aligned(offset, kPageSize)) {
    return fail(Errno::kEINVAL);
  }
  RefPtr<File> file;
  if ((flags.bits & kMapAnonymous) == 0) {
    TRY_ASSIGN(file, usable_file_of(descriptor));
  } else if ((flags.bits & kMapHugeTlb) != 0) {
    return fail(Errno::kENOMEM);  // no huge-page pool: as Linux with nr_hugepages = 0
  }
  if (size_bytes == 0) {
    return fail(Errno::kEINVAL);
  }
  MapRequest request;
  request.address = VirtAddr(address.value);
  request.size_bytes = size_bytes;
  request.protection = protection_of(protection);
  if ((flags.bits & kMapFixedNoReplace) != 0) {
    request.placement = MapRequest::Placement::kFixedNoReplace;
  } else if ((flags.bits & kMapFixed) != 0) {
    request.placement = MapRequest::Placement::kFixed;
  }
  // As on Linux, where it goes is looked at before what it is.
  TRY(space().check_placement(request));
  const std::uint64_t type = flags.bits & kMapTypeMask;
  if (file && type == kMapSharedValidate && (flags.bits & ~kMapKnown) != 0) {
    return fail(Errno::kEOPNOTSUPP);
  }
  if (type != kMapShared && type != kMapPrivate && !(file && type == kMapSharedValidate)) {
    return fail(Errno::kEINVAL);
  }
  const bool is_shared = type != kMapPrivate;
  request.populate = (flags.bits & kMapPopulate) != 0 && (flags.bits & kMapNonBlock) == 0;
  request.flags = (is_shared ? kRegionShared : 0) |
                  ((flags.bits & kMapNoReserve) != 0 ? kRegionNoReserve : 0) |
                  ((flags.bits & kMapLocked) != 0 ? kRegionLocked : 0);
  if ((flags.bits & kMapGrowsDown) != 0) {
    if (is_shared || file) {
      return fail(Errno::kEINVAL);
    }
    request.flags |= kRegionGrowsDown;
  }
  if (file) {
    request.cache_offset_bytes = offset;
    TRY(map_file(request, *file, is_shared));
  }
  TRY_ASSIGN(const VirtAddr mapped, space().map(std::move(request)));
  return static_cast<std::int64_t>(mapped.value());
}

SystemCallResult sys_munmap(UserAddress address, std::uint64_t size_bytes) {
  return done(space().unmap(VirtAddr(address.value), size_bytes));
}

SystemCallResult sys_mprotect(UserAddress address, std::uint64_t size_bytes,
                              std::uint64_t protection) {
  constexpr std::uint64_t kGrowsDown = 0x01000000;
  constexpr std::uint64_t kGrowsUp = 0x02000000;
  if ((protection & (kGrowsDown | kGrowsUp)) == (kGrowsDown | kGrowsUp) ||
      !is_aligned(address.value, kPageSize)) {
    return fail(Errno::kEINVAL);
  }
  if (size_bytes == 0) {
    return 0;
  }
  if ((protection & ~(kProtectionMask | kGrowsDown)) != 0) {
    return fail(Errno::kEINVAL);
  }
  return done(space().protect(VirtAddr(address.value), size_bytes, protection_of(protection)));
}

SystemCallResult sys_mremap(UserAddress address, std::uint64_t old_bytes, std::uint64_t new_bytes,
                            FlagsArgument64 flags, UserAddress new_address) {
  TRY_ASSIGN(const VirtAddr moved, space().remap(VirtAddr(address.value), old_bytes, new_bytes,
                                                 flags.bits, VirtAddr(new_address.value)));
  return static_cast<std::int64_t>(moved.value());
}

SystemCallResult sys_madvise(UserAddress address, std::uint64_t size_bytes, int advice) {
  return done(space().advise(VirtAddr(address.value), size_bytes, advice));
}

SystemCallResult sys_brk(UserAddress wanted) {
  return static_cast<std::int64_t>(space().set_break(VirtAddr(wanted.value)).value());
}

SystemCallResult sys_msync(UserAddress address, std::uint64_t size_bytes, int flags) {
  return done(space().sync(VirtAddr(address.value), size_bytes, flags));
}

SystemCallResult sys_mincore(UserAddress address, std::uint64_t size_bytes,
                             UserOut<std::uint8_t> residency) {
  constexpr std::size_t kChunkPages = 512;
  if (!is_aligned(address.value, kPageSize)) {
    return fail(Errno::kEINVAL);
  }
  if (address.value >= kUserLimit || size_bytes > kUserLimit - address.value) {
    return fail(Errno::kENOMEM);
  }
  const std::uint64_t pages = (size_bytes + kPageSize - 1) >> kPageShift;
  const UserSpan<std::uint8_t, Direction::kOut> user = residency.span(pages);
  if (!user.in_range()) {
    return fail(Errno::kEFAULT);
  }
  std::uint8_t chunk[kChunkPages];
  for (std::uint64_t first = 0; first < pages; first += kChunkPages) {
    const std::size_t count = std::min<std::uint64_t>(kChunkPages, pages - first);
    TRY(space().resident(VirtAddr(address.value + (first << kPageShift)), {chunk, count}));
    TRY(user.subspan(first, count).copy_out({chunk, count}));
  }
  return 0;
}

// ---- Locking
// ---------------------------------------------------------------------------------------

SystemCallResult sys_mlock2(UserAddress address, std::uint64_t size_bytes, FlagsArgument flags) {
  constexpr std::uint32_t kOnFault = 1;
  if ((flags.bits & ~kOnFault) != 0) {
    return fail(Errno::kEINVAL);
  }
  return done(space().lock_pages(
      VirtAddr(address.value), size_bytes,
      flags.bits != 0 ? AddressSpace::LockPages::kLockOnFault : AddressSpace::LockPages::kLock));
}
SystemCallResult sys_mlock(UserAddress address, std::uint64_t size_bytes) {
  return sys_mlock2(address, size_bytes, {.bits = 0});
}
SystemCallResult sys_munlock(UserAddress address, std::uint64_t size_bytes) {
  return done(
      space().lock_pages(VirtAddr(address.value), size_bytes, AddressSpace::LockPages::kUnlock));
}

namespace {

// Locks or unlocks every region there is.
Result<void> lock_everything(AddressSpace::LockPages how) {
  std::uint64_t next = 0;
  while (true) {
    std::uint64_t start = 0;
    std::uint64_t end = 0;
    space().for_each_region([&](const Region& region) {
      if (region.start < next) {
        return true;
      }
      start = region.start;
      end = region.end;
      return false;
    });
    if (end == 0) {
      return {};
    }
    // Pages that cannot be brought in (PROT_NONE, beyond a file's end) stay out, as on Linux.
    const Result<void> locked = space().lock_pages(VirtAddr(start), end - start, how);
    if (!locked && locked.error() != Errno::kENOMEM) {
      return locked;
    }
    next = end;
  }
}

}  // namespace

SystemCallResult sys_mlockall(FlagsArgument flags) {
  constexpr std::uint32_t kCurrent = 1;
  constexpr std::uint32_t kFuture = 2;
  constexpr std::uint32_t kOnFault = 4;
  if (flags.bits == 0 || flags.bits == kOnFault ||
      (flags.bits & ~(kCurrent | kFuture | kOnFault)) != 0) {
    return fail(Errno::kEINVAL);
  }
  const std::uint64_t limit = current_limit(Resource::kMemlock);
  if (!current_identity().has(Capability::kIpcLock)) {
    if (limit == 0) {
      return fail(Errno::kEPERM);
    }
    if ((flags.bits & kCurrent) != 0 && space().stats().virtual_pages > limit >> kPageShift) {
      return fail(Errno::kENOMEM);
    }
  }
  space().set_default_map_flags((flags.bits & kFuture) != 0 ? kRegionLocked : 0);
  if ((flags.bits & kCurrent) != 0) {
    TRY(lock_everything((flags.bits & kOnFault) != 0 ? AddressSpace::LockPages::kLockOnFault
                                                     : AddressSpace::LockPages::kLock));
  }
  return 0;
}
SystemCallResult sys_munlockall() {
  space().set_default_map_flags(0);
  return done(lock_everything(AddressSpace::LockPages::kUnlock));
}

SystemCallResult sys_membarrier(int command, FlagsArgument flags, int) {
  constexpr int kQuery = 0;
  constexpr int kGlobal = 1;
  if (flags.bits != 0) {
    return fail(Errno::kEINVAL);
  }
  switch (command) {
    case kQuery:
      return kGlobal;
    case kGlobal:
      return 0;  // one CPU: everything before is visible to every thread already
    default:
      return fail(Errno::kEINVAL);
  }
}

// ---- Other processes' memory
// ----------------------------------------------------------------------------

namespace {

// May the caller look into `target`? With its real ids, as PTRACE_MODE_ATTACH_REALCREDS has it.
bool may_access(Process& target) {
  const RefPtr<Thread> leader = leader_of(target);
  if (!leader) {
    return false;
  }
  const Identity& mine = current_identity();
  const RefPtr<const Identity> theirs = leader->identity();
  return may_inspect(
      {.uid = mine.uid, .gid = mine.gid, .groups = {}, .capabilities = mine.permitted},
      mine.has(Capability::kSysPtrace),
      {.uids = {theirs->uid, theirs->euid, theirs->suid},
       .gids = {theirs->gid, theirs->egid, theirs->sgid},
       .permitted = theirs->permitted,
       .is_dumpable = target.dumpable.load(),
       .is_the_callers = &target == &current_process()});
}

// From one page of another process to this one; returns the bytes done.
std::size_t transfer_page(AddressSpace& remote, VirtAddr at, std::size_t wanted, IoSink& local,
                          std::span<std::byte>) {
  const Result<PhysAddr> frame = remote.pin_page(at, FaultAccess::kRead, RemoteRights::kAsProgram);
  if (!frame) {
    return 0;
  }
  const std::size_t moved =
      local.write({phys_to_virt<std::byte>(*frame) + at.value() % kPageSize, wanted});
  if (*frame != zero_frame) {
    frame_release(frame_of(*frame));
  }
  return moved;
}

// The other way round, through `buffer`, a page: what is taken from this process may have to be
// brought in first, and the other one's page is not held meanwhile (vm/remote_access.cc).
std::size_t transfer_page(AddressSpace& remote, VirtAddr at, std::size_t wanted, IoSource& local,
                          std::span<std::byte> buffer) {
  return remote.write_memory(at, buffer.first(local.read(buffer.first(wanted))),
                             RemoteRights::kAsProgram);
}

// Moves bytes between this process (`local`) and one run of memory of another. Returns what was
// done; stops at the first page that cannot be had.
template <class Local>
std::size_t transfer(AddressSpace& remote, std::uint64_t address, std::size_t size_bytes,
                     Local& local, std::span<std::byte> buffer) {
  std::size_t total = 0;
  while (total < size_bytes) {
    // Up to the end of a page, so that nothing is taken from `local` that cannot be put down.
    const VirtAddr at(address + total);
    const std::size_t wanted =
        std::min<std::size_t>(kPageSize - at.value() % kPageSize, size_bytes - total);
    const std::size_t moved = transfer_page(remote, at, wanted, local, buffer);
    total += moved;
    if (moved < wanted) {
      break;
    }
    port::reschedule_if_needed();
  }
  return total;
}

template <FaultAccess kAccess, Direction kLocal, class Local>
SystemCallResult process_vm(ProcessNumber pid, UserSpan<Iovec, Direction::kIn> local_list,
                            UserSpan<Iovec, Direction::kIn> remote_list, std::uint64_t flags) {
  if (flags != 0 || local_list.size() > kMaxSegments || remote_list.size() > kMaxSegments) {
    return fail(Errno::kEINVAL);
  }
  ArgumentArray<UserSpan<std::byte, kLocal>> segments;
  TRY(segments.resize(local_list.size()));
  TRY(import_iovec<kLocal>(local_list, segments.span()));
  fetch_next_argument();
  ArgumentArray<Iovec> remote;
  TRY(remote.resize(remote_list.size()));
  TRY(remote_list.copy_in(remote.span()));
  // Their sum may be anything, as on Linux: what counts is what fits into the local ones.
  for (const Iovec& segment : remote.span()) {
    if (segment.length > INT64_MAX) {
      return fail(Errno::kEINVAL);
    }
  }
  const RefPtr<Process> process = find_process(pid.number);
  if (!process) {
    return fail(Errno::kESRCH);
  }
  if (!may_access(*process)) {
    return fail(Errno::kEPERM);
  }
  const RefPtr<AddressSpace> remote_space = process->space();
  if (!remote_space) {
    return fail(Errno::kESRCH);
  }
  Local local = [&] {
    const std::span<const UserSpan<std::byte, kLocal>> all = segments.span();
    if constexpr (kAccess == FaultAccess::kWrite) {
      return IoSource::from_user(all);
    } else {
      return IoSink::to_user(all);
    }
  }();
  Vec<std::byte> buffer;
  if constexpr (kAccess == FaultAccess::kWrite) {
    TRY(buffer.resize_for_overwrite(kPageSize));
  }
  std::size_t total = 0;
  bool is_short = false;
  for (const Iovec& segment : remote.span()) {
    const std::size_t wanted = std::min(segment.length, local.remaining());
    const std::size_t moved = transfer(*remote_space, segment.base, wanted, local, buffer.span());
    total += moved;
    is_short = moved < wanted;
    if (is_short || local.remaining() == 0) {
      break;
    }
  }
  if (total == 0 && is_short) {
    return fail(Errno::kEFAULT);
  }
  return static_cast<std::int64_t>(total);
}

}  // namespace

SystemCallResult sys_process_vm_readv(ProcessNumber pid, UserSpan<Iovec, Direction::kIn> local,
                                      UserSpan<Iovec, Direction::kIn> remote,
                                      FlagsArgument64 flags) {
  return process_vm<FaultAccess::kRead, Direction::kOut, IoSink>(pid, local, remote, flags.bits);
}
SystemCallResult sys_process_vm_writev(ProcessNumber pid, UserSpan<Iovec, Direction::kIn> local,
                                       UserSpan<Iovec, Direction::kIn> remote,
                                       FlagsArgument64 flags) {
  return process_vm<FaultAccess::kWrite, Direction::kIn, IoSource>(pid, local, remote, flags.bits);
}

}  // namespace holstein
