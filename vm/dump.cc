#include "vm/dump.h"

#include "lib/format.h"
#include "vm/address_space.h"
#include "vm/table_share.h"

namespace holstein {

// Walks one space under its lock. A friend of AddressSpace.
class AddressSpaceVisitor {
 public:
  AddressSpaceVisitor(const AddressSpace& space, String& text) : space_(space), text_(text) {}

  Result<void> run() {
    ReadGuard guard(space_.lock_);
    const Frame& root = frame_of(space_.root_);
    TRY(line("root frame %#llx: %u anonymous pages, %u file pages, %u tables below\n",
             number(space_.root_.value()), root.table.anonymous_pages, root.table.file_pages,
             root.table.tables));
    return table(space_.root_, kRootLevel, VirtAddr(0));
  }

 private:
  // Neighbouring leaves that differ in nothing but their addresses.
  struct Run {
    VirtAddr start;
    VirtAddr end;
    std::uint64_t flags = 0;
    std::uint32_t refs = 0;
    std::uint64_t page_bytes = 0;
    const char* kind = nullptr;
    bool continues(const Run& next) const {
      return kind == next.kind && page_bytes == next.page_bytes && end == next.start &&
             flags == next.flags && refs == next.refs;
    }
  };

  static unsigned long long number(std::uint64_t value) { return value; }
  static const char* level_name(unsigned level) {
    constexpr const char* kNames[] = {"", "PT", "PD", "PDPT", "PML4"};
    return kNames[level];
  }

  template <class... Arguments>
  Result<void> line(const char* format, Arguments... arguments) {
    char buffer[200];
    return text_.append(format_to(buffer, format, arguments...));
  }

  Result<void> table(PhysAddr frame, unsigned level, VirtAddr base) {
    const int indent = static_cast<int>(2 * (kRootLevel - level + 1));
    const unsigned entries = level == kRootLevel ? kUserRootEntries : kEntriesPerTable;
    Run run;
    for (unsigned index = 0; index < entries; ++index) {
      const Entry entry = table_entries(frame)[index];
      if (!entry.is_present()) {
        continue;
      }
      const VirtAddr start = base + index * entry_span(level);
      if (!is_leaf(entry, level)) {
        TRY(leaf_line(run, indent));
        run = {};
        TRY(table_line(entry, level, start, indent));
        TRY(table(entry.target(), level - 1, start));
        continue;
      }
      const Run next = leaf_run(entry, level, start);
      if (run.kind != nullptr && run.continues(next)) {
        run.end = next.end;
        continue;
      }
      TRY(leaf_line(run, indent));
      run = next;
    }
    return leaf_line(run, indent);
  }

  Result<void> table_line(Entry entry, unsigned level, VirtAddr start, int indent) {
    const Frame& frame = frame_of(entry.target());
    const std::uint32_t refs = frame.refs.load(std::memory_order_relaxed);
    return line(
        "%*s%012llx-%012llx %s frame %#llx %s refs %u%s, %u entries, %u anonymous, %u file\n",
        indent, "", number(start.value()), number(start.value() + entry_span(level)),
        level_name(level - 1), number(entry.target().value()), entry.is_writable() ? "rw" : "r-",
        refs, entry.is_cow() ? " copy-on-write" : "", frame.table.present,
        frame.table.anonymous_pages, frame.table.file_pages);
  }

  static Run leaf_run(Entry entry, unsigned level, VirtAddr start) {
    const Frame& frame = frame_of(entry.target());
    const bool is_zero = entry.target() == zero_frame;
    return {.start = start,
            .end = start + entry_span(level),
            .flags = entry.flags() & ~(PAGE_ACCESSED | PAGE_DIRTY | PAGE_HUGE),
            .refs = is_zero ? 0 : owners_of(entry),
            .page_bytes = entry_span(level),
            .kind = is_zero                               ? "zero"
                    : frame.kind == FrameKind::kAnonymous ? "anonymous"
                                                          : "file"};
  }

  Result<void> leaf_line(const Run& run, int indent) {
    if (run.kind == nullptr) {
      return {};
    }
    const Entry entry(run.flags);
    return line("%*s%012llx-%012llx %c%c%c %s %llu %spages, refs %u%s%s\n", indent, "",
                number(run.start.value()), number(run.end.value()),
                entry.is_accessible() ? 'r' : '-', entry.is_writable() ? 'w' : '-',
                entry.is_accessible() && !entry.is_no_execute() ? 'x' : '-', run.kind,
                number((run.end - run.start) / run.page_bytes),
                run.page_bytes == kPageSize ? "" : "2 MiB ", run.refs,
                entry.is_cow() ? " copy-on-write" : "",
                entry.is_shared_mapping() ? " shared mapping" : "");
  }

  const AddressSpace& space_;
  String& text_;
};

Result<void> dump_page_tables(const AddressSpace& space, String& text) {
  return AddressSpaceVisitor(space, text).run();
}

}  // namespace holstein
