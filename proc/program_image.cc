#include "proc/program_image.h"

#include <algorithm>
#include <cstring>

#include "fs/mount.h"
#include "lib/random.h"
#include "lib/vec.h"
#include "vm/frame.h"

namespace holstein {

namespace {

// Where things go without randomisation, as on Linux (x86-64, 47-bit addresses).
constexpr std::uint64_t kStackTop = kUserLimit;
constexpr std::uint64_t kPieBase = kUserLimit / 3 * 2 & ~(kPageSize - 1);  // 0x555555554000
constexpr std::uint64_t kLeastMmapGap = 128 << 20;
constexpr std::uint64_t kMostMmapGap = kUserLimit / 6 * 5;
// How far each is moved at random, in pages: 16 GiB, 1 TiB, 1 TiB, 32 MiB.
constexpr std::uint64_t kStackPages = 1ULL << 22;
constexpr std::uint64_t kMmapPages = 1ULL << 28;
constexpr std::uint64_t kPiePages = 1ULL << 28;
constexpr std::uint64_t kBreakPages = 0x02000000 / kPageSize;

std::uint64_t random_pages(Randomize randomize, std::uint64_t pages) {
  return randomize == Randomize::kYes ? random_below(pages) * kPageSize : 0;
}

std::uint32_t protection_of(std::uint32_t flags) {
  return ((flags & kElfReadFlag) != 0 ? kProtRead : 0) |
         ((flags & kElfWriteFlag) != 0 ? kProtWrite : 0) |
         ((flags & kElfExecuteFlag) != 0 ? kProtExec : 0);
}

// Calls `change(frame_bytes, offset_in_range, bytes)` for each page's part of a range.
template <class Change>
Result<void> for_each_page(AddressSpace& space, std::uint64_t address, std::uint64_t bytes,
                           Change change) {
  std::uint64_t done = 0;
  while (done < bytes) {
    const std::uint64_t at = address + done;
    const std::uint64_t part = std::min(kPageSize - at % kPageSize, bytes - done);
    TRY_ASSIGN(const PhysAddr page,
               space.pin_page(VirtAddr(at), FaultAccess::kWrite, RemoteRights::kForced));
    change(phys_to_virt<std::byte>(page) + at % kPageSize, done, part);
    frame_release(frame_of(page));
    done += part;
  }
  return {};
}

Result<void> map_load(AddressSpace& space, const ElfLoad& load, const FileMapping& mapping,
                      std::uint64_t bias) {
  const std::uint64_t start = load.first_page() + bias;
  const std::uint64_t file_end = load.address + load.file_bytes;
  const std::uint64_t file_pages_end =
      load.file_bytes == 0 ? load.first_page() : align_up(file_end, kPageSize);
  if (file_pages_end > load.first_page()) {
    MapRequest request =
        fixed_request(start, file_pages_end - load.first_page(), protection_of(load.flags));
    request.cache = mapping.cache;
    request.cache_offset_bytes = align_down(load.offset, kPageSize);
    request.file = mapping.file;
    TRY(space.map(std::move(request)));
  }
  if (load.end_page() > file_pages_end) {
    TRY(space.map(fixed_request(file_pages_end + bias, load.end_page() - file_pages_end,
                                protection_of(load.flags))));
  }
  // The last page from the file goes on with zeros up to its end, not with what follows there:
  // ld.so allocates from behind its BSS and counts on it.
  if (load.memory_bytes > load.file_bytes && load.file_bytes != 0) {
    TRY(clear_in_space(space, file_end + bias, file_pages_end - file_end));
  }
  return {};
}

// A bias for a position-independent image: near `preferred_base`, or (0) wherever mmap would put
// it.
Result<std::uint64_t> choose_bias(AddressSpace& space, const ElfImage& image,
                                  std::uint64_t preferred_base) {
  if (!image.is_position_independent) {
    return 0;
  }
  const std::uint64_t size = image.end_page() - image.first_page();
  const std::uint64_t align = std::max(image.alignment, kPageSize);
  if (preferred_base != 0) {
    return align_down(preferred_base, align) - image.first_page();
  }
  if (align_up_overflows(size, align)) {
    return fail(Errno::kENOMEM);
  }
  const std::uint64_t room = align > kPageSize ? size + align : size;
  MapRequest request;
  request.size_bytes = room;
  request.flags = kRegionNoReserve;
  TRY_ASSIGN(const VirtAddr found, space.map(std::move(request)));
  TRY(space.unmap(found, room));
  return align_up(found.value(), align) - image.first_page();
}

void note_layout(ProgramLayout& layout, const ElfImage& image, std::uint64_t bias) {
  for (const ElfLoad& load : image.segments()) {
    const std::uint64_t start = load.address + bias;
    const std::uint64_t end = start + load.file_bytes;
    if ((load.flags & kElfExecuteFlag) != 0) {
      layout.code_start = layout.code_start == 0 ? start : std::min(layout.code_start, start);
      layout.code_end = std::max(layout.code_end, end);
    }
    layout.data_start = std::max(layout.data_start, start);
    layout.data_end = std::max(layout.data_end, end);
  }
}

}  // namespace

MapRequest fixed_request(std::uint64_t address, std::uint64_t bytes, std::uint32_t protection) {
  MapRequest request;
  request.address = VirtAddr(address);
  request.size_bytes = bytes;
  request.protection = protection;
  request.placement = MapRequest::Placement::kFixedNoReplace;
  return request;
}

Result<void> write_to_space(AddressSpace& space, std::uint64_t address,
                            std::span<const std::byte> bytes) {
  return for_each_page(space, address, bytes.size(),
                       [&](std::byte* to, std::uint64_t done, std::uint64_t part) {
                         std::memcpy(to, bytes.data() + done, part);
                       });
}

Result<void> clear_in_space(AddressSpace& space, std::uint64_t address, std::uint64_t bytes) {
  return for_each_page(space, address, bytes, [](std::byte* to, std::uint64_t, std::uint64_t part) {
    std::memset(to, 0, part);
  });
}

Result<std::size_t> read_head(File& file, std::uint64_t offset, std::span<std::byte> to) {
  PageCache* cache = file.inode().page_cache();
  if (cache == nullptr) {
    return fail(Errno::kENOEXEC);
  }
  return cache->read_at(offset, to);
}

Result<ElfFile> read_elf(RefPtr<File> file) {
  ElfHeader header;
  TRY_ASSIGN(const std::size_t bytes,
             read_head(*file, 0, std::as_writable_bytes(std::span(&header, 1))));
  if (bytes < sizeof(header)) {
    return fail(Errno::kENOEXEC);
  }
  const std::uint64_t file_bytes = file->inode().page_cache()->size_bytes();
  TRY_ASSIGN(const ElfTable table, check_elf_header(header, file_bytes));
  Vec<ElfProgramHeader> headers;
  TRY(headers.resize(header.program_header_count));
  TRY_ASSIGN(const std::size_t read,
             read_head(*file, table.offset, std::as_writable_bytes(headers.span())));
  if (read < table.bytes) {
    return fail(Errno::kENOEXEC);
  }
  TRY_ASSIGN(ElfImage image, parse_elf(header, headers.span(), file_bytes));
  return ElfFile{.file = std::move(file), .image = std::move(image)};
}

Result<PlacedImage> map_elf(AddressSpace& space, const ElfFile& elf, std::uint64_t preferred_base,
                            ProgramLayout* layout) {
  TRY_ASSIGN(const FileMapping mapping, elf.file->map());
  TRY_ASSIGN(const std::uint64_t bias, choose_bias(space, elf.image, preferred_base));
  for (const ElfLoad& load : elf.image.segments()) {
    TRY(map_load(space, load, mapping, bias));
  }
  if (layout != nullptr) {
    note_layout(*layout, elf.image, bias);
  }
  const ElfLoad& last = elf.image.segments().back();
  return PlacedImage{.bias = bias, .end = last.address + last.memory_bytes + bias};
}

Result<ProgramImage> build_program(const ProgramRequest& request) {
  ProgramImage image;
  TRY_ASSIGN(image.space, AddressSpace::create());
  AddressSpace& space = *image.space;
  space.set_limits(request.limits);

  const std::uint64_t stack_top = kStackTop - random_pages(request.randomize, kStackPages);
  const std::uint64_t gap =
      std::clamp(request.limits.stack == UINT64_MAX ? kMostMmapGap
                                                    : request.limits.stack + kStackGuardGapBytes,
                 kLeastMmapGap, kMostMmapGap);
  const std::uint64_t stack_range = kStackTop - stack_top;
  space.set_mmap_base(VirtAddr(align_down(kUserLimit - std::min(gap + stack_range, kMostMmapGap) -
                                              random_pages(request.randomize, kMmapPages),
                                          kPageSize)));

  ProgramLayout layout;
  PlacedProgram placed;
  const bool has_interpreter = static_cast<bool>(request.interpreter.file);
  // A program that brings no interpreter may be one (ld.so run by hand): out of the way of others.
  const std::uint64_t base =
      has_interpreter ? kPieBase + random_pages(request.randomize, kPiePages) : 0;
  TRY_ASSIGN(placed.program, map_elf(space, request.program, base, &layout));
  image.entry = request.program.image.entry + placed.program.bias;
  if (has_interpreter) {
    TRY_ASSIGN(placed.interpreter, map_elf(space, request.interpreter, 0, nullptr));
    image.entry = request.interpreter.image.entry + placed.interpreter.bias;
  }

  // The heap follows the program; that of a program among the mappings gets a place of its own.
  const bool is_among_mappings = request.program.image.is_position_independent && !has_interpreter;
  layout.brk_start = align_up(is_among_mappings ? kPieBase : placed.program.end, kPageSize) +
                     random_pages(request.randomize, kBreakPages);
  TRY(build_stack(request, placed, stack_top, image, layout));
  space.set_layout(layout);
  return image;
}

}  // namespace holstein
