#include "vm/mappers.h"

#include <algorithm>
#include <limits>

#include "vm/address_space.h"
#include "vm/huge_page.h"
#include "vm/table_share.h"

namespace holstein {

namespace {

constexpr unsigned kSlotLevel = kHugeLevel;  // of the entry that fills a slot
constexpr std::uint64_t kSlotBytes = entry_span(kSlotLevel);

// The pages that a level-2 entry leads to, by a table or as one huge page.
struct SlotView {
  PhysAddr target;
  bool is_huge;

  explicit SlotView(Entry entry) : target(entry.target()), is_huge(entry.is_huge()) {}
  // Null: there is none.
  PhysAddr page(std::size_t index) const {
    if (is_huge) {
      return target + index * kPageSize;
    }
    const Entry entry = table_entries(target)[index];
    return entry.is_present() ? entry.target() : PhysAddr();
  }
  bool is_shared() const {
    return is_huge ? huge_page_owners(target) > 1
                   : frame_of(target).refs.load(std::memory_order_relaxed) > 1;
  }
};

// Whether other tables than the one that leads to `page` may lead there. The page cache's own hold
// is no entry; that of a huge page stands for those who have it whole (H1).
bool has_other_entries(PhysAddr page) {
  if (page.is_null() || page == zero_frame) {
    return false;
  }
  const Frame& frame = frame_of(page);
  return frame.refs.load(std::memory_order_relaxed) >
         (frame.kind == FrameKind::kPageCache ? 2U : 1U);
}

std::uint32_t to_pfn(PhysAddr page) { return static_cast<std::uint32_t>(page.pfn()); }

// Room for `more` elements, so that they can be appended under a spinlock.
template <class T>
Result<void> make_room(Vec<T>& elements, std::size_t more) {
  if (elements.capacity() - elements.size() >= more) {
    return {};
  }
  return elements.reserve(std::max(2 * elements.capacity(), elements.size() + more));
}

}  // namespace

// Fills a PageMappings. A friend of AddressSpace.
class MappingCounter {
 public:
  explicit MappingCounter(PageMappings& counts) : counts_(counts) {}

  // Records the slots of `own`, and the pages in them to which other tables lead too.
  Result<void> record(AddressSpace& own) {
    own_ = &own;
    ReadGuard guard(own.lock_);
    for (std::uint64_t address = 0; address < kUserLimit;) {
      TRY(make_room(counts_.slots_, 1));
      TRY(make_room(counts_.pages_, kEntriesPerTable));
      address += record_slot(own, VirtAddr(address));
    }
    return {};
  }

  // Nobody else needs to be asked where nothing is shared.
  bool needs_others() const { return needs_others_; }

  // Adds what `other` maps in the slots. All of them are locked one after the other, never two.
  void add(AddressSpace& other) {
    if (&other == own_) {
      return;
    }
    ReadGuard guard(other.lock_);
    std::uint64_t hole_end = 0;
    for (PageMappings::Slot& slot : counts_.slots_) {
      if (slot.start.value() >= hole_end) {
        hole_end = add_slot(other, slot);
      }
    }
  }

 private:
  // Bytes to go on by: a slot, or a whole hole.
  std::uint64_t record_slot(AddressSpace& own, VirtAddr start) {
    SpinGuard guard(own.tables_lock_);
    const PathSurvey survey = survey_path(own.root_, start, kSlotLevel);
    if (!survey.entry.is_present()) {
      const std::uint64_t span = entry_span(survey.reached_level);
      return span - start.value() % span;
    }
    const SlotView view(survey.entry);
    PageMappings::Slot slot{.start = start, .target = view.target, .is_huge = view.is_huge};
    needs_others_ = needs_others_ || survey.is_shared || view.is_shared();
    record_pages(slot, view);
    static_cast<void>(counts_.slots_.push_back(slot));
    return kSlotBytes;
  }

  void record_pages(PageMappings::Slot& slot, const SlotView& view) {
    std::size_t index = 0;
    while (index < kEntriesPerTable && !has_other_entries(view.page(index))) {
      ++index;
    }
    if (index == kEntriesPerTable) {
      return;
    }
    needs_others_ = true;
    slot.pages = static_cast<std::uint32_t>(counts_.pages_.size());
    for (index = 0; index < kEntriesPerTable; ++index) {
      const PhysAddr target = view.page(index);
      PageMappings::Page page;
      page.pfn = has_other_entries(target) ? to_pfn(target) : 0;
      static_cast<void>(counts_.pages_.push_back(page));
    }
  }

  // Where the hole ends that `other` has here; 0: it has none.
  std::uint64_t add_slot(AddressSpace& other, PageMappings::Slot& slot) {
    // While it is held no table below the root goes away: this space itself holds them.
    SpinGuard guard(other.tables_lock_);
    const PathSurvey survey = survey_path(other.root_, slot.start, kSlotLevel);
    if (!survey.entry.is_present()) {
      const std::uint64_t span = entry_span(survey.reached_level);
      return slot.start.value() - slot.start.value() % span + span;
    }
    const SlotView view(survey.entry);
    if (view.target == slot.target && view.is_huge == slot.is_huge) {
      ++slot.sharers;
    } else if (slot.pages != PageMappings::kNoPages) {
      add_pages(slot, view);
    }
    return 0;
  }

  void add_pages(const PageMappings::Slot& slot, const SlotView& view) {
    for (std::size_t index = 0; index < kEntriesPerTable; ++index) {
      PageMappings::Page& page = counts_.pages_[slot.pages + index];
      if (page.pfn != 0 && to_pfn(view.page(index)) == page.pfn) {
        ++page.others;
      }
    }
  }

  PageMappings& counts_;
  AddressSpace* own_ = nullptr;
  bool needs_others_ = false;
};

Result<PageMappings> PageMappings::count(AddressSpace& space) {
  PageMappings counts;
  MappingCounter counter(counts);
  TRY(counter.record(space));
  if (counter.needs_others()) {
    for_each_address_space(&counter, [](void* context, AddressSpace& other) {
      static_cast<MappingCounter*>(context)->add(other);
    });
  }
  return counts;
}

std::uint32_t PageMappings::of(VirtAddr address, std::uint32_t entries) const {
  const std::uint32_t least = std::max<std::uint32_t>(entries, 1);
  const Slot* const slot = std::upper_bound(
      slots_.begin(), slots_.end(), address,
      [](VirtAddr wanted, const Slot& next) { return wanted.value() < next.start.value(); });
  if (slot == slots_.begin()) {
    return least;
  }
  const Slot& found = slot[-1];
  const std::uint64_t offset = address - found.start;
  if (offset >= kSlotBytes) {
    return least;
  }
  std::uint32_t mappings = 1 + found.sharers;
  if (found.pages != kNoPages) {
    mappings += pages_[found.pages + (offset >> kPageShift)].others;
  }
  return std::max(mappings, least);
}

std::uint64_t PageMappings::proportional_size(VirtAddr address, std::uint64_t size_bytes,
                                              std::uint32_t entries) const {
  std::uint64_t sum = 0;
  for (std::uint64_t offset = 0; offset < size_bytes; offset += kPageSize) {
    sum += (kPageSize << kFractionBits) / of(address + offset, entries);
  }
  return sum;
}

}  // namespace holstein
