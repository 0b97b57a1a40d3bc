// Memory of an address space reached by the kernel for somebody else: process_vm_readv and writev,
// /proc/<pid>/mem, the arguments that /proc shows, a shared futex.
//
// The bytes go through the direct map. Writes do so under the space's lock held exclusively, so
// what was made ready (its share broken) is what is written: a program that drops the page at that
// moment, to have the next access find the file's own page there, has to wait until it is over (the
// race known as Dirty COW). Reads may also take a reference to the page (pin_page) and read it
// without the lock.
#include <algorithm>
#include <cstring>

#include "lib/panic.h"
#include "vm/address_space.h"
#include "vm/fault_internal.h"

namespace holstein {

Result<PhysAddr> AddressSpace::reach_locked(VirtAddr address, FaultAccess access,
                                            RemoteRights rights) {
  if (!address.is_user()) {
    return fail(Errno::kEFAULT);
  }
  const Region* region = regions_->find(address);
  if (region == nullptr) {
    region = grow_stack_locked(address);
  }
  if (region == nullptr) {
    return fail(Errno::kEFAULT);
  }
  // The CPU reads where it may write; on behalf of others only what was declared readable is read.
  if (rights == RemoteRights::kAsProgram && access == FaultAccess::kRead &&
      (region->protection & kProtRead) == 0) {
    return fail(Errno::kEFAULT);
  }
  // What is there and may be read is read as it is, shared or not; the rest takes a fault.
  const bool may_read = access == FaultAccess::kRead && (region->protection & kProtRead) != 0;
  PathSurvey survey = survey_path(root_, address, 1);
  if (!may_read || !survey.entry.is_present()) {
    switch (serve_fault_locked(*region, address, access, rights)) {
      case FaultOutcome::kResolved:
        break;
      case FaultOutcome::kOutOfMemory:
        return fail(Errno::kENOMEM);
      case FaultOutcome::kNotMapped:
      case FaultOutcome::kNoPermission:
      case FaultOutcome::kBeyondFile:
        return fail(Errno::kEFAULT);
    }
    survey = survey_path(root_, address, 1);
  }
  HOLSTEIN_ASSERT(survey.entry.is_present() && is_leaf(survey.entry, survey.reached_level));
  // Of a huge page, the one frame.
  const std::uint64_t offset = address.page().value() & (entry_span(survey.reached_level) - 1);
  return survey.entry.target() + offset;
}

Result<PhysAddr> AddressSpace::pin_page(VirtAddr address, FaultAccess access, RemoteRights rights) {
  WriteGuard guard(lock_);
  TRY_ASSIGN(const PhysAddr frame, reach_locked(address, access, rights));
  TRY(retain_target(Entry(frame, PAGE_PRESENT)));
  return frame;
}

namespace {

// Calls `visit(address, offset, count)` for the part of each page in the range until it fails.
template <class Visit>
std::size_t for_each_page(VirtAddr address, std::size_t size_bytes, Visit visit) {
  std::size_t done = 0;
  while (done < size_bytes) {
    // An address that wraps around is no user address by then: the visit refuses it.
    const VirtAddr at(address.value() + done);
    const std::uint64_t offset = at.value() % kPageSize;
    const std::size_t count = std::min<std::size_t>(kPageSize - offset, size_bytes - done);
    if (!visit(at, done, count)) {
      break;
    }
    done += count;
    port::reschedule_if_needed();
  }
  return done;
}

}  // namespace

std::size_t AddressSpace::read_memory(VirtAddr address, std::span<std::byte> to,
                                      RemoteRights rights) {
  return for_each_page(address, to.size(), [&](VirtAddr at, std::size_t done, std::size_t count) {
    WriteGuard guard(lock_);
    const Result<PhysAddr> frame = reach_locked(at, FaultAccess::kRead, rights);
    if (!frame) {
      return false;
    }
    std::memcpy(to.data() + done, phys_to_virt<std::byte>(*frame) + at.value() % kPageSize, count);
    return true;
  });
}

std::size_t AddressSpace::write_memory(VirtAddr address, std::span<const std::byte> from,
                                       RemoteRights rights) {
  return for_each_page(address, from.size(), [&](VirtAddr at, std::size_t done, std::size_t count) {
    WriteGuard guard(lock_);
    const Result<PhysAddr> frame = reach_locked(at, FaultAccess::kWrite, rights);
    if (!frame) {
      return false;
    }
    std::memcpy(phys_to_virt<std::byte>(*frame) + at.value() % kPageSize, from.data() + done,
                count);
    return true;
  });
}

}  // namespace holstein
