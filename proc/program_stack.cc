// The stack of a new program: strings, auxiliary vector, envp, argv and argc (System V ABI for
// x86-64, 3.4.1), in the order in which Linux lays them out.
#include <cstring>

#include "fs/mount.h"
#include "lib/random.h"
#include "proc/port.h"
#include "proc/program_image.h"

namespace holstein {

namespace {

constexpr std::uint64_t kAtNull = 0, kAtPhdr = 3, kAtPhent = 4, kAtPhnum = 5, kAtPagesz = 6;
constexpr std::uint64_t kAtBase = 7, kAtFlags = 8, kAtEntry = 9, kAtUid = 11, kAtEuid = 12;
constexpr std::uint64_t kAtGid = 13, kAtEgid = 14, kAtPlatform = 15, kAtHwcap = 16;
constexpr std::uint64_t kAtClktck = 17, kAtSecure = 23, kAtRandom = 25, kAtHwcap2 = 26;
constexpr std::uint64_t kAtExecfn = 31, kAtMinsigstksz = 51;

constexpr char kPlatform[] = "x86_64";
constexpr std::uint64_t kRandomBytes = 16;
constexpr std::uint64_t kStackSlackBytes = 128 * 1024;  // mapped beyond what is filled
constexpr std::uint64_t kAlignSlideBytes = 8192;

// Writes strings one after the other and remembers where each begins.
class StringWriter {
 public:
  StringWriter(AddressSpace& space, std::uint64_t address) : space_(space), address_(address) {}

  Result<void> write(const StringArea& area, std::size_t from, Vec<std::uint64_t>& starts) {
    bool at_start = true;
    return area.for_each_piece(from, [&](std::span<const char> piece) -> Result<void> {
      for (std::size_t i = 0; i < piece.size(); ++i) {
        if (at_start) {
          TRY(starts.push_back(address_ + i));
        }
        at_start = piece[i] == '\0';
      }
      TRY(write_to_space(space_, address_, std::as_bytes(piece)));
      address_ += piece.size();
      return {};
    });
  }
  std::uint64_t address() const { return address_; }

 private:
  AddressSpace& space_;
  std::uint64_t address_;
};

class AuxiliaryWriter {
 public:
  explicit AuxiliaryWriter(AuxiliaryVector& vector) : vector_(vector) {}
  void add(std::uint64_t key, std::uint64_t value) {
    HOLSTEIN_ASSERT(vector_.count + 2 <= AuxiliaryVector::kMaxWords);
    vector_.words[vector_.count++] = key;
    vector_.words[vector_.count++] = value;
  }

 private:
  AuxiliaryVector& vector_;
};

struct StringAddresses {
  std::uint64_t path = 0;
  std::uint64_t platform = 0;
  std::uint64_t random = 0;
};

void fill_auxiliary(const ProgramRequest& request, const PlacedProgram& placed,
                    const StringAddresses& strings, AuxiliaryVector& vector) {
  const ElfImage& program = request.program.image;
  AuxiliaryWriter to(vector);
  to.add(kAtHwcap, port::hardware_capabilities());
  to.add(kAtPagesz, kPageSize);
  to.add(kAtClktck, kClockTicksPerSecond);
  to.add(kAtPhdr, program.program_headers == 0 ? 0 : program.program_headers + placed.program.bias);
  to.add(kAtPhent, sizeof(ElfProgramHeader));
  to.add(kAtPhnum, program.program_header_count);
  to.add(kAtBase, request.interpreter.file
                      ? placed.interpreter.bias + request.interpreter.image.first_page()
                      : 0);
  to.add(kAtFlags, 0);
  to.add(kAtEntry, program.entry + placed.program.bias);
  to.add(kAtUid, request.identity->uid);
  to.add(kAtEuid, request.identity->euid);
  to.add(kAtGid, request.identity->gid);
  to.add(kAtEgid, request.identity->egid);
  to.add(kAtSecure, request.is_secure ? 1 : 0);
  to.add(kAtRandom, strings.random);
  to.add(kAtHwcap2, port::hardware_capabilities_2());
  to.add(kAtExecfn, strings.path);
  to.add(kAtPlatform, strings.platform);
  to.add(kAtMinsigstksz, port::minimum_signal_stack_bytes());
  to.add(kAtNull, 0);
}

}  // namespace

Result<void> build_stack(const ProgramRequest& request, const PlacedProgram& placed,
                         std::uint64_t top, ProgramImage& image, ProgramLayout& layout) {
  const ProgramArguments& arguments = *request.arguments;
  const std::uint64_t path_bytes = request.shown_path.size() + 1;
  const std::uint64_t pointers =
      std::uint64_t{arguments.argument_count()} + arguments.environment_count() + 3;
  const std::uint64_t table_bytes =
      pointers * sizeof(std::uint64_t) + AuxiliaryVector::kMaxWords * sizeof(std::uint64_t);
  const std::uint64_t filled = arguments.string_bytes() + path_bytes + sizeof(kPlatform) +
                               kRandomBytes + table_bytes + kAlignSlideBytes + 256;
  const std::uint64_t size = align_up(filled + kStackSlackBytes, kPageSize);
  if (filled > request.limits.stack) {
    return fail(Errno::kE2BIG);
  }
  const std::uint64_t mapped = size < request.limits.stack ? size : align_up(filled, kPageSize);
  MapRequest stack = fixed_request(
      top - mapped, mapped,
      kProtRead | kProtWrite | (request.program.image.executable_stack ? kProtExec : 0));
  stack.flags = kRegionGrowsDown | kRegionStack;
  TRY(image.space->map(std::move(stack)));

  // From the top: eight bytes of zero, the path, the environment, the arguments.
  const std::uint64_t path = top - sizeof(std::uint64_t) - path_bytes;
  const std::uint64_t environment = path - arguments.environment().size_bytes();
  const std::uint64_t first =
      environment - (arguments.string_bytes() - arguments.environment().size_bytes());
  Vec<std::uint64_t> starts;
  TRY(starts.reserve(pointers));
  StringWriter writer(*image.space, first);
  TRY(writer.write(arguments.prefix(), 0, starts));
  TRY(writer.write(arguments.arguments(), arguments.skipped_bytes(), starts));
  HOLSTEIN_ASSERT(starts.size() == arguments.argument_count());
  TRY(writer.write(arguments.environment(), 0, starts));
  TRY(write_to_space(*image.space, path, std::as_bytes(std::span(request.shown_path))));

  // Below them: a random slide of up to two pages, the platform's name, sixteen random bytes.
  std::uint64_t at = first;
  if (request.randomize == Randomize::kYes) {
    at -= random_below(kAlignSlideBytes);
  }
  at &= ~std::uint64_t{15};
  StringAddresses strings{.path = path};
  strings.platform = at -= sizeof(kPlatform);
  TRY(write_to_space(*image.space, at, std::as_bytes(std::span(kPlatform))));
  strings.random = at -= kRandomBytes;
  std::byte random[kRandomBytes];
  random_bytes(random);
  TRY(write_to_space(*image.space, at, random));
  fill_auxiliary(request, placed, strings, image.auxiliary);

  // argc, argv, null, envp, null, auxiliary vector; argc on a multiple of 16.
  Vec<std::uint64_t> table;
  TRY(table.reserve(pointers + image.auxiliary.count));
  TRY(table.push_back(arguments.argument_count()));
  for (std::size_t i = 0; i < starts.size(); ++i) {
    if (i == arguments.argument_count()) {
      TRY(table.push_back(0));
    }
    TRY(table.push_back(starts[i]));
  }
  if (starts.size() == arguments.argument_count()) {
    TRY(table.push_back(0));  // argv's; there is no environment
  }
  TRY(table.push_back(0));
  TRY(table.append(std::span<const std::uint64_t>(image.auxiliary.words, image.auxiliary.count)));
  image.stack_pointer = (at - table.size() * sizeof(std::uint64_t)) & ~std::uint64_t{15};
  TRY(write_to_space(*image.space, image.stack_pointer, std::as_bytes(table.span())));

  layout.stack_start = image.stack_pointer;
  layout.argument_start = first;
  layout.argument_end = layout.environment_start = environment;
  layout.environment_end = path;
  return {};
}

}  // namespace holstein
