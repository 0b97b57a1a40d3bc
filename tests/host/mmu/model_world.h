// One machine of the model test: the real vm/ code over an arena behind the software MMU, several
// processes, two files, and the model of each.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "tests/host/fake/arena.h"
#include "tests/host/mmu/model_machine.h"
#include "tests/host/mmu/user_access.h"
#include "vm/address_space.h"
#include "vm/walker.h"

namespace holstein::testing {

class World {
 public:
  explicit World(Roots roots)
      : arena_(kArenaMib),
        kernel_directory_(roots),
        mmu_(phys_to_virt<std::byte>(PhysAddr(0)), std::uint64_t{kArenaMib} << 20),
        listener_(mmu_) {
    for (TestFile& file : files_) {
      file.cache = PageCache::create().value();
      file.model = std::make_shared<ModelObject>();
      file.model->pages.resize(kFilePages);
      HOLSTEIN_ASSERT(file.cache->resize(kFilePages * kModelPage).has_value());
    }
    processes_.push_back({.space = AddressSpace::create().value(), .model = {}});
    current().space->activate();
  }

  ~World() {
    paging_switch_directory(paging_kernel_directory());
    processes_.clear();
    for (TestFile& file : files_) {
      file.cache.reset();
    }
    HOLSTEIN_ASSERT(committed_pages() == 0);
  }

  void run(const Step& step) {
    if (step.kind == StepKind::kFailNext) {
      fail_nth_ = 1 + step.extra % 12;
      return;
    }
    // Half of the changes come between two looks at the same pages, so that a translation that was
    // not dropped is used again.
    const bool looks = changes_entries(step.kind) && (step.process & 0x100) != 0;
    if (looks) {
      look_at_edges(step);
    }
    allocation_fail_nth(fail_nth_, false);
    fail_nth_ = 0;
    dispatch(step);
    allocation_fail_nth(0, false);
    if (looks) {
      look_at_edges(step);
    }
  }

  void validate() { HOLSTEIN_ASSERT(validate_all_address_spaces()); }
  void validate_current() { validate_address_space(*current().space); }

  // Reads everything there is in every process.
  void compare_everything() {
    for (std::size_t i = 0; i < processes_.size(); ++i) {
      current_ = i;
      current().space->activate();
      for (const auto& [address, page] : current().model.pages) {
        check_access(address, MmuAccess::kRead, 0);
      }
    }
  }

  const std::optional<std::string>& difference() const { return difference_; }

 private:
  TestProcess& current() { return processes_[current_]; }
  TestProcess& chosen(const Step& step) { return processes_[step.process % processes_.size()]; }

  void differ(const char* what, std::uint64_t address, long long expected, long long found) {
    if (!difference_) {
      char text[200];
      std::snprintf(text, sizeof text, "%s at %#llx: expected %lld, found %lld", what,
                    static_cast<unsigned long long>(address), expected, found);
      difference_ = text;
    }
  }

  // The result must be success, or else ENOMEM. True: success.
  template <class T>
  bool succeeded(const Result<T>& result, const char* what, std::uint64_t address) {
    if (!result && result.error() != Errno::kENOMEM) {
      differ(what, address, 0, static_cast<long long>(result.error()));
    }
    return result.has_value();
  }

  // What a program would see: the processor's translation, and faults served until it succeeds.
  FaultOutcome access(std::uint64_t address, MmuAccess access, std::uint64_t* physical) {
    for (int tries = 0; tries < 4; ++tries) {
      const SoftwareMmu::Translation translation = accesses_.translate(address, access);
      if (accesses_.kernel_root_executes()) {
        differ("code that the kernel's root lets user mode run", address, 0, 1);
      }
      if (!translation.fault) {
        *physical = translation.physical;
        return FaultOutcome::kResolved;
      }
      const FaultAccess kind = access == MmuAccess::kWrite     ? FaultAccess::kWrite
                               : access == MmuAccess::kExecute ? FaultAccess::kExecute
                                                               : FaultAccess::kRead;
      const FaultOutcome outcome = current().space->handle_fault(VirtAddr(address), kind);
      if (outcome != FaultOutcome::kResolved) {
        return outcome;
      }
    }
    differ("a fault that is served again and again", address, 1, 4);
    return FaultOutcome::kResolved;
  }

  void check_access(std::uint64_t address, MmuAccess kind, std::uint8_t value) {
    ModelProcess& model = current().model;
    const FaultOutcome expected = expected_outcome(model, address, kind);
    std::uint64_t physical = 0;
    const FaultOutcome found = access(address, kind, &physical);
    if (found == FaultOutcome::kOutOfMemory) {
      return;
    }
    if (found != expected) {
      differ("outcome of an access", address, static_cast<int>(expected), static_cast<int>(found));
      return;
    }
    if (expected != FaultOutcome::kResolved || difference_) {
      return;
    }
    auto* byte = phys_to_virt<std::uint8_t>(PhysAddr(physical));
    if (kind == MmuAccess::kWrite) {
      *byte = value;
      model.write(address, value);
    } else if (*byte != model.read(address)) {
      differ("contents", address, model.read(address), *byte);
    }
  }

  static bool changes_entries(StepKind kind) {
    switch (kind) {
      case StepKind::kWrite:
      case StepKind::kRead:
      case StepKind::kExecute:
      case StepKind::kExit:
      case StepKind::kSwitch:
      case StepKind::kFailNext:
        return false;
      default:
        return true;
    }
  }

  void look_at_edges(const Step& step) {
    const Range range = range_of(step);
    for (const std::uint64_t address : {range.start, range.page(range.pages - 1)}) {
      check_access(address, MmuAccess::kRead, 0);
      if ((step.process & 0x200) != 0) {
        check_access(address, MmuAccess::kWrite, static_cast<std::uint8_t>(step.process >> 10));
      }
    }
  }

  void dispatch(const Step& step) {
    const Range range = range_of(step);
    switch (step.kind) {
      case StepKind::kMapAnonymous:
      case StepKind::kMapSharedAnonymous:
      case StepKind::kMapFilePrivate:
      case StepKind::kMapFileShared:
        return map(step, range);
      case StepKind::kUnmap:
        if (succeeded(current().space->unmap(VirtAddr(range.start), range.size()), "unmap",
                      range.start)) {
          forget(current().model, range);
        }
        return;
      case StepKind::kProtect:
        return protect(step, range);
      case StepKind::kWrite:
        return check_access(range.start, MmuAccess::kWrite, static_cast<std::uint8_t>(step.extra));
      case StepKind::kRead:
        return check_access(range.start, MmuAccess::kRead, 0);
      case StepKind::kExecute:
        return check_access(range.start, MmuAccess::kExecute, 0);
      case StepKind::kFork:
        return fork(step);
      case StepKind::kExit:
        return exit(step.process % processes_.size());
      case StepKind::kMove:
        return move(step, range);
      case StepKind::kDiscard:
        return discard(range);
      case StepKind::kDontFork:
        return set_flag(range, step.extra % 2 == 0 ? kAdviceDontFork : kAdviceDoFork);
      case StepKind::kWipeOnFork:
        return set_flag(range, step.extra % 2 == 0 ? kAdviceWipeOnFork : kAdviceKeepOnFork);
      case StepKind::kWriteFile:
        return write_file(step);
      case StepKind::kTruncate:
        return truncate(step);
      case StepKind::kKernelWrite:
        return kernel_write(step, range);
      case StepKind::kSwitch:
        current_ = step.process % processes_.size();
        current().space->activate();
        return;
      case StepKind::kFailNext:
        return;
    }
  }

  static void forget(ModelProcess& model, const Range& range) {
    model.pages.erase(model.pages.lower_bound(range.start),
                      model.pages.lower_bound(range.start + range.size()));
  }

  void map(const Step& step, const Range& range) {
    const bool is_file =
        step.kind == StepKind::kMapFilePrivate || step.kind == StepKind::kMapFileShared;
    const bool is_shared =
        step.kind == StepKind::kMapSharedAnonymous || step.kind == StepKind::kMapFileShared;
    MapRequest request;
    request.address = VirtAddr(range.start);
    request.placement = MapRequest::Placement::kFixed;
    request.size_bytes = range.size();
    request.protection = step.extra % 16 == 0 ? 0 : step.extra % 8;
    request.flags = is_shared ? kRegionShared : 0;
    ModelPage page;
    page.protection = request.protection;
    page.is_shared = is_shared;
    const std::uint64_t offset = step.extra / 8 % 30;
    if (is_file) {
      TestFile& file = files_[step.extra / 256 % 2];
      request.cache = file.cache;
      request.cache_offset_bytes = offset * kModelPage;
      page.object = file.model;
    } else if (is_shared) {
      page.object = std::make_shared<ModelObject>();
      page.object->pages.resize(range.pages);
    }
    if (!succeeded(current().space->map(request), "map", range.start)) {
      return;
    }
    forget(current().model, range);
    for (std::uint64_t i = 0; i < range.pages; ++i) {
      page.object_page = i + (is_file ? offset : 0);
      current().model.pages[range.page(i)] = page;
    }
  }

  template <class Change>
  static bool for_each_mapped(ModelProcess& model, const Range& range, Change change) {
    bool all_mapped = true;
    for (std::uint64_t i = 0; i < range.pages; ++i) {
      auto page = model.pages.find(range.page(i));
      if (page == model.pages.end()) {
        all_mapped = false;
      } else {
        change(page->second);
      }
    }
    return all_mapped;
  }

  void protect(const Step& step, const Range& range) {
    const std::uint32_t protection = step.extra % 8;
    // What lies before a hole is changed, and the call fails all the same.
    Range before_hole = {.start = range.start, .pages = 0};
    while (before_hole.pages < range.pages &&
           current().model.is_mapped(range.page(before_hole.pages))) {
      ++before_hole.pages;
    }
    Result<void> result;
    until_done([&] {
      result = current().space->protect(VirtAddr(range.start), range.size(), protection);
      return result;
    });
    if (range_is_out_of_memory(range)) {
      return;
    }
    const bool has_hole = before_hole.pages < range.pages;
    if (result.has_value() == has_hole || (!result && result.error() != Errno::kENOMEM)) {
      return differ("protect", range.start, has_hole ? -12 : 0,
                    result.has_value() ? 0 : -static_cast<int>(result.error()));
    }
    for_each_mapped(current().model, before_hole,
                    [&](ModelPage& page) { page.protection = protection; });
  }

  void fork(const Step& step) {
    if (processes_.size() == kMaxProcesses) {
      return;
    }
    Result<RefPtr<AddressSpace>> child = current().space->fork();
    if (!succeeded(child, "fork", 0)) {
      return;
    }
    processes_.push_back({.space = std::move(*child), .model = current().model.fork()});
    if (step.extra % 2 == 0) {
      current_ = processes_.size() - 1;
      current().space->activate();
    }
  }

  // Ends any process. Where it is another one than the one that runs, nothing is flushed on its
  // account, and tables that only it still owned go.
  void exit(std::size_t index) {
    if (processes_.size() == 1) {
      return;
    }
    processes_.erase(processes_.begin() + static_cast<std::ptrdiff_t>(index));
    if (current_ > index) {
      --current_;
    } else if (current_ == index) {
      current_ = 0;
      current().space->activate();
    }
  }

  void move(const Step& step, const Range& from) {
    Step target_step = step;
    target_step.place = step.extra;
    Range to = range_of(target_step);
    to.pages = from.pages;
    if (from.start < to.start + to.size() && to.start < from.start + from.size()) {
      return;
    }
    // The target is unmapped first, as mremap does it as a step of its own.
    if (!succeeded(current().space->unmap(VirtAddr(to.start), to.size()), "unmap", to.start)) {
      return;
    }
    forget(current().model, to);
    const Result<VirtAddr> moved = current().space->remap(VirtAddr(from.start), from.size(),
                                                          from.size(), 3, VirtAddr(to.start));
    if (!moved && moved.error() == Errno::kEFAULT) {
      return;  // not one region
    }
    if (!succeeded(moved, "remap", from.start)) {
      return;
    }
    ModelProcess& model = current().model;
    for (std::uint64_t i = 0; i < from.pages; ++i) {
      auto page = model.pages.extract(from.page(i));
      if (page.empty()) {
        return differ("remap over a hole", from.page(i), -1, 0);
      }
      page.key() = to.page(i);
      model.pages.insert(std::move(page));
    }
  }

  // Runs an operation that may be half done when memory runs out, and is whole the second time.
  template <class Operation>
  void until_done(Operation operation) {
    if (!operation()) {
      allocation_fail_nth(0, false);
      operation();
    }
  }

  void discard(const Range& range) {
    until_done([&] {
      return current().space->advise(VirtAddr(range.start), range.size(), kAdviceDontNeed);
    });
    if (range_is_out_of_memory(range)) {
      return;
    }
    for_each_mapped(current().model, range, [](ModelPage& page) { page.has_own_contents = false; });
  }

  // True where the operation cannot be finished for want of memory, which ends the comparison of
  // this range: it is unmapped on both sides.
  bool range_is_out_of_memory(const Range& range) {
    if (frame_get_free_memory() > 16 * kModelPage) {
      return false;
    }
    while (!current().space->unmap(VirtAddr(range.start), range.size())) {
      exit(current_ == 0 ? processes_.size() - 1 : 0);
    }
    forget(current().model, range);
    return true;
  }

  void set_flag(const Range& range, int advice) {
    const bool is_wipe = advice == kAdviceWipeOnFork;
    // Only private anonymous pages can be wiped; what lies before another one is changed all the
    // same.
    Range changed = {.start = range.start, .pages = 0};
    while (changed.pages < range.pages) {
      auto page = current().model.pages.find(range.page(changed.pages));
      if (is_wipe && page != current().model.pages.end() &&
          (page->second.object || page->second.is_shared)) {
        break;
      }
      ++changed.pages;
    }
    const bool is_refused = changed.pages < range.pages;
    Result<void> result;
    until_done([&] {
      result = current().space->advise(VirtAddr(range.start), range.size(), advice);
      return result;
    });
    if (is_refused && (result || result.error() != Errno::kEINVAL)) {
      return differ("WIPEONFORK of what is not private and anonymous", range.start, -22, 0);
    }
    for_each_mapped(current().model, changed, [&](ModelPage& page) {
      if (advice == kAdviceDontFork || advice == kAdviceDoFork) {
        page.dont_fork = advice == kAdviceDontFork;
      } else {
        page.wipe_on_fork = is_wipe;
      }
    });
  }

  void write_file(const Step& step) {
    TestFile& file = files_[step.process % 2];
    const std::uint64_t page = step.place % kFilePages;
    if (page >= file.model->pages.size()) {
      return;
    }
    const std::byte value{static_cast<std::uint8_t>(step.extra)};
    const Result<std::size_t> written = file.cache->write_at(page * kModelPage, {&value, 1});
    if (written.has_value()) {
      file.model->pages[page] = static_cast<std::uint8_t>(step.extra);
    }
  }

  void truncate(const Step& step) {
    TestFile& file = files_[step.process % 2];
    const std::uint64_t pages = step.length % (kFilePages + 1);
    until_done([&] { return file.cache->resize(pages * kModelPage); });
    if (!file.cache->resize(pages * kModelPage)) {
      return differ("truncate", pages, 0, -12);
    }
    for (TestProcess& process : processes_) {
      for (auto& [address, page] : process.model.pages) {
        if (page.object == file.model && page.object_page >= pages) {
          page.has_own_contents = false;
        }
      }
    }
    file.model->pages.resize(pages);
  }

  void kernel_write(const Step& step, const Range& range) {
    TestProcess& target = chosen(step);
    FaultOutcome expected = expected_outcome(target.model, range.start, MmuAccess::kWrite);
    const RemoteRights rights =
        (step.extra & 1) != 0 ? RemoteRights::kForced : RemoteRights::kAsProgram;
    if (rights == RemoteRights::kForced && expected == FaultOutcome::kNoPermission &&
        !target.model.pages.at(range.start).is_shared) {
      expected = target.model.is_beyond_object(range.start) ? FaultOutcome::kBeyondFile
                                                            : FaultOutcome::kResolved;
    }
    const Result<PhysAddr> frame =
        target.space->pin_page(VirtAddr(range.start), FaultAccess::kWrite, rights);
    if (!frame) {
      const bool is_right =
          frame.error() == Errno::kENOMEM ||
          (frame.error() == Errno::kEFAULT && expected != FaultOutcome::kResolved);
      if (!is_right) {
        differ("pin_page", range.start, static_cast<int>(expected),
               static_cast<int>(frame.error()));
      }
      return;
    }
    if (expected != FaultOutcome::kResolved) {
      return differ("pin_page", range.start, static_cast<int>(expected), 0);
    }
    *phys_to_virt<std::uint8_t>(*frame) = static_cast<std::uint8_t>(step.extra);
    target.model.write(range.start, static_cast<std::uint8_t>(step.extra));
    frame_release(frame_of(*frame));
  }

  fake::Arena arena_;
  KernelDirectory kernel_directory_;
  SoftwareMmu mmu_;
  AlternatingAccesses accesses_{mmu_};
  MmuListener listener_;
  TestFile files_[2];
  std::vector<TestProcess> processes_;
  std::size_t current_ = 0;
  std::uint64_t fail_nth_ = 0;
  std::optional<std::string> difference_;
};

}  // namespace holstein::testing
