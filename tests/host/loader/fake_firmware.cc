// The firmware in memory: see fake_firmware.h.
#include "tests/host/loader/fake_firmware.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace holstein::loader {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint8_t kPoison = 0xa5;

}  // namespace

FakeFirmware::FakeFirmware(uint64_t ram_bytes)
    : ram_pages_(ram_bytes / kPage), page_types_(ram_pages_, MemoryType::kConventional) {
  // Free pages cannot be touched at all.
  void* arena =
      mmap(nullptr, ram_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (arena == MAP_FAILED) abort();
  arena_ = static_cast<uint8_t*>(arena);
}

FakeFirmware::~FakeFirmware() {
  EXPECT_EQ(open_files, 0) << "a file was left open";
  munmap(arena_, ram_pages_ * kPage);
}

bool FakeFirmware::is_allocated(uint64_t physical, MemoryType type) const {
  const uint64_t page = (physical - kRamStart) / kPage;
  return physical >= kRamStart && page < ram_pages_ && page_types_[page] == type;
}

uint64_t FakeFirmware::allocated_pages() const {
  return ram_pages_ - std::ranges::count(page_types_, MemoryType::kConventional);
}

void FakeFirmware::expect_boot_services(const char* service) const {
  EXPECT_EQ(exit_calls, 0) << service << " was called after ExitBootServices";
}

Status FakeFirmware::open_file(const char* path, OpenFile& file) {
  expect_boot_services("Open");
  const auto found = files.find(path);
  if (found == files.end()) return kNotFound;
  FakeFile& fake = found->second;
  if (fake.open_status != kSuccess) return fake.open_status;
  EXPECT_EQ(open_files, 0) << "two files are open";
  ++open_files;
  position_ = 0;
  file = {.handle = &fake,
          .size_bytes = fake.claimed_bytes == UINT64_MAX ? fake.bytes.size() : fake.claimed_bytes,
          .is_folder = fake.is_folder};
  return kSuccess;
}

Status FakeFirmware::read_file(const OpenFile& file, void* buffer, uint64_t& bytes) {
  expect_boot_services("Read");
  const auto& fake = *static_cast<FakeFile*>(file.handle);
  if (fake.read_status != kSuccess) return fake.read_status;
  largest_read = std::max(largest_read, bytes);
  const uint64_t left = fake.bytes.size() - std::min<uint64_t>(position_, fake.bytes.size());
  const uint64_t count = std::min({bytes, left, fake.most_per_read});
  if (count > 0) memcpy(buffer, fake.bytes.data() + position_, count);
  position_ += count;
  bytes = count + fake.extra_per_read;
  return kSuccess;
}

Status FakeFirmware::seek_file(const OpenFile& file, uint64_t offset) {
  expect_boot_services("SetPosition");
  position_ = offset;
  return static_cast<FakeFile*>(file.handle)->seek_status;
}

void FakeFirmware::close_file(const OpenFile&) {
  expect_boot_services("Close");
  --open_files;
}

Status FakeFirmware::allocate_pages(MemoryType type, uint64_t page_count, uint64_t& physical) {
  expect_boot_services("AllocatePages");
  if (allocations_made++ == fail_allocation) return kOutOfResources;
  // From the top down, as OVMF does.
  uint64_t run = 0;
  for (uint64_t page = ram_pages_; page-- > 0;) {
    run = page_types_[page] == MemoryType::kConventional ? run + 1 : 0;
    if (run < page_count || page_count == 0) continue;
    std::fill_n(page_types_.begin() + page, page_count, type);
    mprotect(arena_ + page * kPage, page_count * kPage, PROT_READ | PROT_WRITE);
    memset(arena_ + page * kPage, kPoison, page_count * kPage);
    ++key_;
    physical = kRamStart + page * kPage;
    return kSuccess;
  }
  return kOutOfResources;
}

void FakeFirmware::free_pages(uint64_t physical, uint64_t page_count) {
  expect_boot_services("FreePages");
  const uint64_t first = (physical - kRamStart) / kPage;
  for (uint64_t page = first; page < first + page_count; ++page) {
    ASSERT_LT(page, ram_pages_);
    EXPECT_NE(page_types_[page], MemoryType::kConventional) << "freed twice";
    page_types_[page] = MemoryType::kConventional;
  }
  mprotect(arena_ + first * kPage, page_count * kPage, PROT_NONE);
  ++key_;
}

uint8_t* FakeFirmware::memory_at(uint64_t physical) {
  EXPECT_GE(physical, kRamStart);
  EXPECT_LT(physical, kRamStart + ram_pages_ * kPage);
  return arena_ + (physical - kRamStart);
}

std::vector<BootMemoryDescriptor> FakeFirmware::current_map() const {
  std::vector<BootMemoryDescriptor> map;
  for (uint64_t page = 0; page < ram_pages_; ++page) {
    const auto type = static_cast<uint32_t>(page_types_[page]);
    if (page > 0 && map.back().type == type) {
      ++map.back().page_count;
    } else {
      map.push_back({.type = type,
                     .reserved = 0,
                     .physical_start = kRamStart + page * kPage,
                     .page_count = 1,
                     .attributes = 0xf});
    }
  }
  map.insert(map.end(), more_memory.begin(), more_memory.end());
  return map;
}

Status FakeFirmware::get_memory_map(void* buffer, uint64_t buffer_bytes, RawMemoryMap& map) {
  const std::vector<BootMemoryDescriptor> descriptors = current_map();
  map = {.bytes = static_cast<uint8_t*>(buffer),
         .size_bytes = descriptors.size() * stride_bytes + grown_bytes_,
         .stride_bytes = stride_bytes,
         .key = key_};
  Status status = kBufferTooSmall;
  if (map.size_bytes <= buffer_bytes) {
    status = kSuccess;
    memset(buffer, 0, map.size_bytes);
    auto* to = static_cast<uint8_t*>(buffer);
    for (const BootMemoryDescriptor& descriptor : descriptors) {
      memcpy(to, &descriptor.type, 4);
      memcpy(to + 8, &descriptor.physical_start, 8);
      memset(to + 16, kPoison, 8);
      memcpy(to + 24, &descriptor.page_count, 8);
      memcpy(to + 32, &descriptor.attributes, 8);
      to += stride_bytes;
    }
  }
  return tamper_map ? tamper_map(status, map) : status;
}

Status FakeFirmware::exit_boot_services(uint64_t key) {
  ++exit_calls;
  grown_bytes_ += map_growth_bytes;
  if (stale_keys > 0) {
    --stale_keys;
    ++key_;
    return kInvalidParameter;
  }
  if (exit_status != kSuccess) return exit_status;
  EXPECT_EQ(key, key_) << "the key is not the last map's";
  return kSuccess;
}

void FakeFirmware::write_console(const char* text) {
  if (exit_calls == 0) console += text;
}

uint64_t FakeFirmware::next_random() {
  random_state = random_state * 6364136223846793005 + 1442695040888963407;
  return random_state >> 11;
}

bool FakeFirmware::random_from_firmware(uint8_t* bytes, size_t count) {
  expect_boot_services("GetRNG");
  if (!has_firmware_random) return false;
  for (size_t i = 0; i < count; ++i) bytes[i] = static_cast<uint8_t>(next_random());
  return true;
}

bool FakeFirmware::random_from_cpu(uint64_t& word) {
  word = has_cpu_random ? next_random() : 0;
  return has_cpu_random;
}

const uint8_t* FakeFirmware::load_options(uint64_t& size_bytes) {
  size_bytes = options.size();
  return options.empty() ? nullptr : options.data();
}

BootFramebuffer FakeFirmware::framebuffer() {
  return {.base = 0x8000'0000,
          .size_bytes = 3 * kMiB,
          .width = 1024,
          .height = 768,
          .pixels_per_scan_line = 1024,
          .pixel_format = 1};
}

}  // namespace holstein::loader
