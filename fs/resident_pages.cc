#include "fs/resident_pages.h"

#include <algorithm>

#include "vm/fault_around.h"
#include "vm/frame.h"
#include "vm/paging.h"

namespace holstein {

PageUse& PageUse::operator+=(const PageUse& other) {
  resident_bytes += other.resident_bytes;
  proportional_fractions += other.proportional_fractions;
  proportional_dirty_fractions += other.proportional_dirty_fractions;
  shared_clean_bytes += other.shared_clean_bytes;
  shared_dirty_bytes += other.shared_dirty_bytes;
  private_clean_bytes += other.private_clean_bytes;
  private_dirty_bytes += other.private_dirty_bytes;
  referenced_bytes += other.referenced_bytes;
  anonymous_bytes += other.anonymous_bytes;
  huge_bytes += other.huge_bytes;
  locked_bytes += other.locked_bytes;
  return *this;
}

ResidentPage next_resident_page(const AddressSpace& space, std::uint64_t address,
                                std::uint64_t end) {
  while (address < end) {
    const PathSurvey survey = survey_path(space.root(), VirtAddr(address), 1);
    const std::uint64_t span = entry_span(survey.reached_level);
    const std::uint64_t span_start = align_down(address, span);
    if (!survey.entry.is_present() || !is_leaf(survey.entry, survey.reached_level) ||
        is_unread_zero_page(survey.entry)) {
      address = span_start + span;
      continue;
    }
    const std::uint64_t stop = std::min(end, span_start + span);
    const PhysAddr frame = survey.entry.target() + (address - span_start);
    const Frame& descriptor = frame_of(survey.entry.target());
    const std::uint32_t references = owners_of(survey.entry);
    const bool is_file_page = descriptor.kind == FrameKind::kPageCache;
    // The page cache's own hold is no other user.
    const std::uint32_t users = is_file_page && references > 1 ? references - 1 : references;
    return {.address = address,
            .size_bytes = stop - address,
            .frame = frame,
            .is_file_page = is_file_page,
            .is_shared = survey.is_shared || users > 1,
            .is_dirty = survey.entry.is_dirty() || !is_file_page,
            .is_accessed = survey.entry.is_accessed(),
            .is_huge = survey.reached_level > 1,
            .is_zero = survey.entry.target() == zero_frame,
            .entries = users == 0 ? 1 : users};
  }
  return {};
}

PageUse count_resident_pages(const AddressSpace& space, const Region& region,
                             const PageMappings& mappings) {
  PageUse use;
  ResidentPage page = next_resident_page(space, region.start, region.end);
  while (page.size_bytes != 0) {
    const std::uint64_t size = page.size_bytes;
    if (!page.is_zero) {
      use.resident_bytes += size;
      const std::uint64_t part =
          mappings.proportional_size(VirtAddr(page.address), size, page.entries);
      use.proportional_fractions += part;
      if (page.is_dirty) use.proportional_dirty_fractions += part;
      std::uint64_t& kind =
          page.is_shared ? (page.is_dirty ? use.shared_dirty_bytes : use.shared_clean_bytes)
                         : (page.is_dirty ? use.private_dirty_bytes : use.private_clean_bytes);
      kind += size;
      if (page.is_accessed) use.referenced_bytes += size;
      if (!page.is_file_page) use.anonymous_bytes += size;
      if (page.is_huge) use.huge_bytes += size;
      if ((region.flags & kRegionLocked) != 0) use.locked_bytes += size;
    }
    page = next_resident_page(space, page.address + size, region.end);
  }
  return use;
}

}  // namespace holstein
