// Bytes that come from outside the machine: the host's frames on the channel, cut anywhere, and the
// firmware's ACPI tables.
#include <vector>

#include "fuzz/input.h"
#include "kernel/acpi_tables.h"
#include "kernel/channel_parser.h"

namespace holstein::fuzz {
namespace {

// Everything that the parser says, as text.
class Events final : public ChannelEvents {
 public:
  void on_hello(std::uint32_t version) override { note("hello", version); }
  void on_data(ChannelStream stream, std::span<const std::byte> bytes) override {
    // Pieces of one frame run together: where they are cut is not part of what is said.
    const std::string head = "data " + std::to_string(static_cast<int>(stream)) + ":";
    if (last_ != head) {
      text_ += head;
      last_ = head;
    }
    text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void on_end_of_file(ChannelStream stream) override { note("end", static_cast<int>(stream)); }
  void on_credit(ChannelStream stream, std::uint32_t bytes) override {
    note("credit", static_cast<std::uint64_t>(stream) << 32 | bytes);
  }
  void on_window_size(std::uint16_t rows, std::uint16_t columns) override {
    note("window", static_cast<std::uint64_t>(rows) << 16 | columns);
  }
  void on_broken_pipe(ChannelStream stream) override { note("broken", static_cast<int>(stream)); }
  const std::string& text() const { return text_; }

 private:
  void note(const char* what, std::uint64_t value) {
    last_.clear();
    text_ += std::string(what) + " " + std::to_string(value) + "\n";
  }
  std::string text_;
  std::string last_;
};

void channel(Input& input) {
  const auto cuts = input.take<std::uint64_t>();
  const auto bytes = std::as_bytes(input.rest());
  ChannelParser whole;
  Events at_once;
  const bool is_sound = whole.feed(bytes, at_once);
  FUZZ_CHECK(is_sound == !whole.is_broken());
  // The same cut into pieces says the same.
  ChannelParser parts;
  Events in_pieces;
  std::size_t done = 0;
  for (unsigned i = 0; done < bytes.size(); ++i) {
    const std::size_t piece = std::min<std::size_t>(bytes.size() - done, 1 + (cuts >> i % 60 & 15));
    (void)parts.feed(bytes.subspan(done, piece), in_pieces);
    done += piece;
  }
  FUZZ_CHECK(parts.is_broken() == whole.is_broken());
  FUZZ_CHECK(in_pieces.text() == at_once.text());
}

// Physical memory for the tables; what lies outside cannot be had.
std::vector<std::byte> memory;

const std::byte* read_physical(std::uint64_t physical, std::size_t bytes) {
  if (physical > memory.size() || bytes > memory.size() - physical) {
    return nullptr;
  }
  return memory.data() + physical;
}

// Makes the bytes of [at, at + bytes) add up to 0 by the one at `place`.
void fix_checksum(std::size_t at, std::size_t bytes, std::size_t place) {
  if (at > memory.size() || bytes > memory.size() - at || place >= bytes) {
    return;
  }
  memory[at + place] = std::byte{0};
  std::uint8_t sum = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(memory[at + i]));
  }
  memory[at + place] = static_cast<std::byte>(-sum);
}

// The root pointer lies at 64, and tables at multiples of 64. Their checksums are made right: what
// is asked here is what happens behind that check.
void acpi(Input& input) {
  constexpr std::size_t kStep = 64;
  const auto bytes = std::as_bytes(input.rest());
  memory.assign(bytes.begin(), bytes.end());
  for (std::size_t at = 2 * kStep; at + 8 <= memory.size(); at += kStep) {
    std::uint32_t length = 0;
    std::memcpy(&length, memory.data() + at + 4, sizeof(length));
    fix_checksum(at, length, 9);
  }
  fix_checksum(kStep, 20, 8);
  fix_checksum(kStep, 36, 32);
  const Result<AcpiInfo> info = acpi_parse(kStep, read_physical);
  if (info) {
    FUZZ_CHECK(info->io_apic_count <= info->io_apics.size());
    FUZZ_CHECK(info->override_count <= info->overrides.size());
  }
  // As a block of its own, so that a sanitizer sees the first byte too many.
  const std::vector<std::byte> aml(bytes.begin(), bytes.end());
  std::uint8_t type_a = 0;
  std::uint8_t type_b = 0;
  (void)acpi_find_sleep5(aml.data(), aml.size(), type_a, type_b);
}

}  // namespace
}  // namespace holstein::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  holstein::fuzz::Input input(data, bytes);
  if ((input.byte() & 1) != 0) {
    holstein::fuzz::channel(input);
  } else {
    holstein::fuzz::acpi(input);
  }
  return 0;
}
