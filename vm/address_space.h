// The address space of a process: regions, page tables, and every operation on them.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <optional>
#include <span>

#include "lib/address.h"
#include "lib/mutex.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "vm/commit.h"
#include "vm/paging.h"
#include "vm/region.h"
#include "vm/table_range.h"
#include "vm/table_share.h"

namespace holstein {

struct PageRequest;

enum class FaultAccess : std::uint8_t { kRead, kWrite, kExecute };

// True if the rights of `region` allow `access`.
bool allows(const Region& region, FaultAccess access);

// By which rights the kernel reaches into a space for somebody else.
enum class RemoteRights : std::uint8_t {
  kAsProgram,  // those that the program declared for itself: process_vm_readv, cmdline
  // Those that it could give itself (Linux's FOLL_FORCE): /proc/<pid>/mem. Memory that is declared
  // inaccessible is read, and private memory written whatever its rights, in a copy of its own.
  kForced,
};

// What became of a page fault.
enum class FaultOutcome : std::uint8_t {
  kResolved,      // go on at the faulting instruction
  kNotMapped,     // SIGSEGV, SEGV_MAPERR
  kNoPermission,  // SIGSEGV, SEGV_ACCERR
  kBeyondFile,    // SIGBUS, BUS_ADRERR
  kOutOfMemory,   // the process is to be killed, or the system call fails
};

// Limits in bytes that the operations enforce; proc/ copies them here when setrlimit changes them.
struct MemoryLimits {
  std::uint64_t address_space = UINT64_MAX;  // RLIMIT_AS
  std::uint64_t data = UINT64_MAX;           // RLIMIT_DATA
  std::uint64_t data_hard = UINT64_MAX;      // its hard limit, which holds where `data` is 0
  std::uint64_t stack = 8ULL << 20;          // RLIMIT_STACK
  std::uint64_t locked = 8ULL << 20;         // RLIMIT_MEMLOCK
};

struct MapRequest {
  VirtAddr address;              // hint, or the place with `placement`
  std::uint64_t size_bytes = 0;  // rounded up to pages
  std::uint32_t protection = 0;  // kProt*
  std::uint32_t flags = 0;       // RegionFlag
  enum class Placement : std::uint8_t {
    kHint,
    kFixed,
    kFixedNoReplace
  } placement = Placement::kHint;
  bool populate = false;
  std::uint32_t max_protection = 7;
  RefPtr<PageCache> cache;  // null: anonymous. With kRegionShared and null, a new cache is made.
  std::uint64_t cache_offset_bytes = 0;  // page-aligned
  RefPtr<MappedFile> file;
};

// Where the parts of a program lie; set by exec, read by /proc and brk.
struct ProgramLayout {
  std::uint64_t code_start = 0, code_end = 0;
  std::uint64_t data_start = 0, data_end = 0;
  std::uint64_t brk_start = 0;
  std::uint64_t stack_start = 0;
  std::uint64_t argument_start = 0, argument_end = 0;
  std::uint64_t environment_start = 0, environment_end = 0;
};

struct AddressSpaceStats {
  std::uint64_t virtual_pages;
  std::uint64_t resident_anonymous_pages;  // from the root's counts: exact, O(1)
  std::uint64_t resident_file_pages;
  std::uint64_t table_pages;  // the root included; shared ones count in full
  std::uint64_t data_pages;   // private writable, but stacks
  std::uint64_t stack_pages;  // of the main stack's region
  std::uint64_t text_pages;
  std::uint64_t locked_pages;
  std::uint64_t peak_virtual_pages;
  std::uint64_t peak_resident_pages;
  std::uint64_t minor_faults;
};

// Lock order: lock_ is LockRank::kAddressSpace; fork takes the parent's, the child's is new.
// Faults hold it shared; everything that changes regions, and fork, holds it exclusively.
//
// Invariants beside I1 to I4, checked by validate_address_space() (vm/walker.h):
//   A1. Every present leaf lies in a region whose rights allow what the leaf allows.
//   A2. The root's counts are the sums over its leaves.
//   A3. charge_ is what the accounted regions need; nothing after end_promise().
class AddressSpace : public RefCounted<AddressSpace>, public boost::intrusive::list_base_hook<> {
 public:
  // An empty space. ENOMEM.
  static Result<RefPtr<AddressSpace>> create();
  // Constant-time copy for fork; regions with kRegionDontFork are left out, kRegionWipeOnFork ones
  // come out empty. ENOMEM or EAGAIN leave `this` as it was and give nothing.
  Result<RefPtr<AddressSpace>> fork() EXCLUDES(lock_);
  ~AddressSpace();

  // ---- System calls' work; errors as Linux's manual pages give them ----
  [[nodiscard]] Result<VirtAddr> map(MapRequest request) EXCLUDES(lock_);
  // What map() would say of the place alone (EINVAL, EPERM, ENOMEM, EEXIST), for callers that have
  // other errors to report after these.
  [[nodiscard]] Result<void> check_placement(const MapRequest& request) const EXCLUDES(lock_);
  [[nodiscard]] Result<void> unmap(VirtAddr start, std::uint64_t size_bytes) EXCLUDES(lock_);
  [[nodiscard]] Result<void> protect(VirtAddr start, std::uint64_t size_bytes,
                                     std::uint32_t protection) EXCLUDES(lock_);
  // `flags` as mremap's MREMAP_MAYMOVE 1, MREMAP_FIXED 2, MREMAP_DONTUNMAP 4.
  [[nodiscard]] Result<VirtAddr> remap(VirtAddr old_start, std::uint64_t old_size,
                                       std::uint64_t new_size, std::uint64_t flags,
                                       VirtAddr new_start) EXCLUDES(lock_);
  // `advice` as madvise's MADV_*.
  [[nodiscard]] Result<void> advise(VirtAddr start, std::uint64_t size_bytes, int advice)
      EXCLUDES(lock_);
  // Returns the new break, or the old one where `wanted` cannot be had (as the system call does).
  VirtAddr set_break(VirtAddr wanted) EXCLUDES(lock_);
  // One byte a page into `residency`, bit 0 set where resident. EINVAL, ENOMEM.
  [[nodiscard]] Result<void> resident(VirtAddr start, std::span<std::uint8_t> residency)
      EXCLUDES(lock_);
  [[nodiscard]] Result<void> sync(VirtAddr start, std::uint64_t size_bytes, int flags)
      EXCLUDES(lock_);
  enum class LockPages : std::uint8_t { kUnlock, kLock, kLockOnFault };
  [[nodiscard]] Result<void> lock_pages(VirtAddr start, std::uint64_t size_bytes, LockPages how)
      EXCLUDES(lock_);

  // ---- Faults ----
  // Serves a fault at `address` of this space, whoever runs. May sleep.
  FaultOutcome handle_fault(VirtAddr address, FaultAccess access) EXCLUDES(lock_);
  // The same for every page of a range, ahead of use (MAP_POPULATE, mlock).
  [[nodiscard]] Result<void> populate(VirtAddr start, std::uint64_t size_bytes) EXCLUDES(lock_);
  // Advice: are all bytes mapped with rights for `access`? (validate_user_buffer)
  bool is_accessible(VirtAddr start, std::uint64_t size_bytes, FaultAccess access) EXCLUDES(lock_);

  // ---- Access for others, whoever runs (vm/remote_access.cc). The program gains no right by it.
  // Copies from and to the memory at `address`. Returns the bytes done: fewer than asked where a
  // page cannot be had by these rights. Writes break shares first, and no fork, unmapping or
  // madvise comes between that and the write. May sleep.
  std::size_t read_memory(VirtAddr address, std::span<std::byte> to, RemoteRights rights)
      EXCLUDES(lock_);
  std::size_t write_memory(VirtAddr address, std::span<const std::byte> from, RemoteRights rights)
      EXCLUDES(lock_);
  // The frame behind `address` made ready for `access`, with a reference for the caller (none for
  // the zero frame). For those who need to know the frame or read it; what is written to it later
  // may reach a child that was forked meanwhile. EFAULT, ENOMEM.
  [[nodiscard]] Result<PhysAddr> pin_page(VirtAddr address, FaultAccess access, RemoteRights rights)
      EXCLUDES(lock_);
  // A number that no other space has had, for those who must not keep one alive.
  std::uint64_t serial() const { return serial_; }

  // True if giving the memory back would take so long that nobody should have to wait for it. Asked
  // by the last owner.
  bool is_long_to_release() const { return paging_is_long_to_free(root_); }

  // By the last owner, before it lets go of a space that takes long to release: nothing of it
  // counts as committed any more.
  void end_promise() EXCLUDES(lock_);

  // Loads this space's tables on the running CPU (nothing if they are loaded).
  void activate();
  PhysAddr root() const { return root_; }

  // ---- Information ----
  AddressSpaceStats stats() const EXCLUDES(lock_);
  // Calls `visit` for each region in order under the lock, until it returns false.
  template <class Visit>
  void for_each_region(Visit visit) const EXCLUDES(lock_) {
    ReadGuard guard(lock_);
    for (const Region* region = regions_->first_above(VirtAddr(0)); region != nullptr;
         region = regions_->next(*region)) {
      if (!visit(*region)) {
        return;
      }
    }
  }

  // Set by exec before the space runs, by proc/ on setrlimit; read under lock_.
  void set_limits(const MemoryLimits& limits) EXCLUDES(lock_);
  void set_layout(const ProgramLayout& layout) EXCLUDES(lock_);
  ProgramLayout layout() const EXCLUDES(lock_);
  // Highest address for mmap's top-down search; exec slides it.
  void set_mmap_base(VirtAddr base) EXCLUDES(lock_);
  void set_default_map_flags(std::uint32_t region_flags) EXCLUDES(lock_);  // mlockall(MCL_FUTURE)
  VirtAddr current_break() const EXCLUDES(lock_);

 private:
  friend class RefCounted<AddressSpace>;
  friend void validate_address_space(AddressSpace& space);
  friend class AddressSpaceVisitor;
  friend class MappingCounter;
  friend Result<void> unmap_cache_pages(PageCache& cache, std::uint64_t first_page);
  friend void for_each_address_space(void* context,
                                     void (*visit)(void* context, AddressSpace& space));

  // Takes `root` over. The space is in no list yet: truncation does not find it.
  AddressSpace(PhysAddr root, RefPtr<RegionMap> regions);

  // Of the list of all address spaces: comes before every lock_ (lib/lock_order.h). A space that is
  // in the list takes it when it ends, so the last reference must not be dropped under a lock_.
  static Mutex& list_lock();
  void enter_list_locked() REQUIRES(list_lock());

  // Makes regions_ this space's own (copies the shared map). ENOMEM.
  Result<void> exclusive_regions_locked() REQUIRES(lock_);
  // May `added` come, in the place of `replaced_pages` that are mapped? ENOMEM, EAGAIN.
  Result<void> check_limits_locked(const Region& added, std::uint64_t replaced_pages = 0) const
      REQUIRES(lock_);
  // The parts of it: `pages` more that are locked, or private and writable.
  bool may_lock_locked(std::uint64_t pages) const REQUIRES(lock_);
  bool may_have_data_locked(std::uint64_t pages) const REQUIRES(lock_);
  Result<RefPtr<PageCache>> make_shared_memory_locked(const Region& region) const REQUIRES(lock_);
  Result<std::uint64_t> choose_address_locked(const MapRequest& request,
                                              std::uint64_t size_bytes) const
      REQUIRES_SHARED(lock_);
  Result<void> unmap_locked(std::uint64_t start, std::uint64_t end) REQUIRES(lock_);
  // Changes the flags of every region in the range; ENOMEM where part of it is not mapped.
  Result<void> change_flags_locked(std::uint64_t start, std::uint64_t end, std::uint32_t set,
                                   std::uint32_t cleared) REQUIRES(lock_);
  bool is_mapped_locked(std::uint64_t start, std::uint64_t end) const REQUIRES_SHARED(lock_);
  Result<std::uint64_t> move_locked(const Region& region, std::uint64_t old_start,
                                    std::uint64_t old_size, std::uint64_t new_size,
                                    std::uint64_t new_start, bool keep_old) REQUIRES(lock_);
  // Grows the stack region above `address` down to it. Null: there is none, or a limit forbids it.
  const Region* grow_stack_locked(VirtAddr address) REQUIRES(lock_);
  // As populate(), with the access given or else the one that a region asks for.
  Result<void> populate_for(VirtAddr start, std::uint64_t size_bytes,
                            std::optional<FaultAccess> access) EXCLUDES(lock_);
  FaultOutcome serve_fault_locked(const Region& region, VirtAddr address, FaultAccess access,
                                  RemoteRights rights) REQUIRES_SHARED(lock_);
  // The frame behind `address`, made ready for `access`; it is that only while the lock is held.
  Result<PhysAddr> reach_locked(VirtAddr address, FaultAccess access, RemoteRights rights)
      REQUIRES(lock_);
  // Maps 2 MiB at once where the fault allows that: a new huge page for a write, the zero table for
  // a read. `survey` found a hole, or a leaf of the zero frame for a write. False: nothing was
  // changed.
  bool map_two_mebibytes(const PageRequest& request, const PathSurvey& survey)
      REQUIRES_SHARED(lock_);
  // The parts of it; `tables_needed` frames are likely to be needed for tables.
  bool map_huge_page(const PageRequest& request, std::size_t tables_needed) REQUIRES_SHARED(lock_);
  bool map_zero_table(const PageRequest& request, std::size_t tables_needed) REQUIRES_SHARED(lock_);
  void note_peaks_locked() REQUIRES(lock_);
  // `pages` more of committed memory for a change that is about to be made. ENOMEM.
  Result<CommitCharge> charge_locked(std::uint64_t pages) const REQUIRES(lock_) {
    return CommitCharge::request(pages, regions_->total_pages());
  }
  // After the change: takes `added` over and gives back what the regions do not need (A3).
  void settle_charge_locked(CommitCharge added = {}) REQUIRES(lock_);

  mutable RwMutex lock_{LockRank::kAddressSpace};
  const PhysAddr root_;
  const std::uint64_t serial_;
  // Serialises changes of this space's tables by faults, which hold lock_ shared only.
  SpinLock tables_lock_{LockRank::kTable};
  RefPtr<RegionMap> regions_ GUARDED_BY(lock_);
  CommitCharge charge_ GUARDED_BY(lock_);
  bool is_ending_ GUARDED_BY(lock_) = false;  // end_promise() was called
  MemoryLimits limits_ GUARDED_BY(lock_);
  ProgramLayout layout_ GUARDED_BY(lock_);
  std::uint64_t break_ GUARDED_BY(lock_) = 0;
  std::uint64_t mmap_base_ GUARDED_BY(lock_);
  std::uint32_t default_map_flags_ GUARDED_BY(lock_) = 0;
  std::uint64_t peak_virtual_pages_ GUARDED_BY(lock_) = 0;
  std::atomic<std::uint64_t> peak_resident_pages_ = 0;
  std::atomic<std::uint64_t> minor_faults_ = 0;
};

// Takes the pages of `cache` from `first_page` on out of every address space that maps them;
// private copies go too, as Linux does it on truncation. The size must have shrunk already, so that
// no fault brings them back. ENOMEM, EAGAIN: part of them may be gone.
[[nodiscard]] Result<void> unmap_cache_pages(PageCache& cache, std::uint64_t first_page);

// True while the pages of some address space are being given back, which lets other threads run in
// between: what its tables still point at is then not all to be found.
bool address_space_is_being_released();
// Whoever will release the last reference to a space later says so from now on, so that nobody is
// killed for want of memory that is as good as free; and when it is done.
void address_space_release_begins();
void address_space_release_ends();

// Calls `visit` for every address space there is, under the list's lock.
void for_each_address_space(void* context, void (*visit)(void* context, AddressSpace& space));

// Lowest address that mmap gives or accepts without privilege (vm.mmap_min_addr, the null guard).
inline constexpr std::uint64_t kMinMapAddress = 0x10000;
// Gap kept free below a region that grows down: 256 pages, as Linux's stack_guard_gap.
inline constexpr std::uint64_t kStackGuardGapBytes = 256 * kPageSize;

}  // namespace holstein
