// Tables that firmware got right, and tables that it got wrong.
#include "kernel/acpi_tables.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace holstein {
namespace {

// A little physical memory; addresses are offsets into it.
std::vector<std::byte> memory;

const std::byte* read(std::uint64_t physical, std::size_t bytes) {
  if (physical > memory.size() || bytes > memory.size() - physical) {
    return nullptr;
  }
  return memory.data() + physical;
}

template <class T>
void put(std::uint64_t at, T value) {
  ASSERT_LE(at + sizeof(T), memory.size());
  std::memcpy(memory.data() + at, &value, sizeof(T));
}

void put_text(std::uint64_t at, std::string_view text) {
  std::memcpy(memory.data() + at, text.data(), text.size());
}

void fix_checksum(std::uint64_t at, std::size_t bytes, std::size_t checksum_offset) {
  put<std::uint8_t>(at + checksum_offset, 0);
  std::uint8_t sum = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(memory[at + i]));
  }
  put<std::uint8_t>(at + checksum_offset, static_cast<std::uint8_t>(-sum));
}

void make_table(std::uint64_t at, std::string_view signature, std::uint32_t bytes) {
  put_text(at, signature);
  put<std::uint32_t>(at + 4, bytes);
  fix_checksum(at, bytes, 9);
}

constexpr std::uint64_t kRsdp = 0x100, kXsdt = 0x200, kFadt = 0x300, kMadt = 0x500, kDsdt = 0x700;

class AcpiTables : public testing::Test {
 protected:
  void SetUp() override {
    memory.assign(0x1000, std::byte{0});
    // DSDT: Name (_S5, Package () {5, 6, 0, 0}).
    put_text(kDsdt + 40, std::string_view("\x08_S5_\x12\x08\x04\x0a\x05\x0a\x06\x00\x00", 14));
    make_table(kDsdt, "DSDT", 64);

    put<std::uint32_t>(kFadt + 40, kDsdt);
    put<std::uint32_t>(kFadt + 64, 0x604);
    put<std::uint32_t>(kFadt + 76, 0x608);
    put<std::uint32_t>(kFadt + 112, 1 << 10 | 1 << 8);
    put<std::uint8_t>(kFadt + 116, 1);
    put<std::uint64_t>(kFadt + 120, 0xcf9);
    put<std::uint8_t>(kFadt + 128, 0x0e);
    make_table(kFadt, "FACP", 244);

    put<std::uint32_t>(kMadt + 36, 0xfee00000);
    put_text(kMadt + 44, std::string_view("\x00\x08\x00\x00\x01\x00\x00\x00", 8));  // CPU
    put_text(kMadt + 52, std::string_view("\x01\x0c\x00\x00\x00\x00\xc0\xfe\x00\x00\x00\x00", 12));
    put_text(kMadt + 64, std::string_view("\x02\x0a\x00\x00\x02\x00\x00\x00\x0f\x00", 10));
    make_table(kMadt, "APIC", 74);

    put<std::uint64_t>(kXsdt + 36, kFadt);
    put<std::uint64_t>(kXsdt + 44, kMadt);
    make_table(kXsdt, "XSDT", 52);

    put_text(kRsdp, "RSD PTR ");
    put<std::uint8_t>(kRsdp + 15, 2);
    put<std::uint32_t>(kRsdp + 20, 36);
    put<std::uint64_t>(kRsdp + 24, kXsdt);
    fix_checksum(kRsdp, 20, 8);
    fix_checksum(kRsdp, 36, 32);
  }
};

TEST_F(AcpiTables, EverythingIsFound) {
  const Result<AcpiInfo> info = acpi_parse(kRsdp, read);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->cpu_count, 1U);
  EXPECT_EQ(info->local_apic_address, 0xfee00000U);
  ASSERT_EQ(info->io_apic_count, 1U);
  EXPECT_EQ(info->io_apics[0].address, 0xfec00000U);
  ASSERT_EQ(info->override_count, 1U);
  EXPECT_EQ(info->overrides[0].interrupt, 2U);
  EXPECT_TRUE(info->overrides[0].active_low);
  EXPECT_TRUE(info->overrides[0].level_triggered);
  EXPECT_EQ(info->pm_timer_port, 0x608);
  EXPECT_TRUE(info->pm_timer_is_32_bit);
  EXPECT_EQ(info->pm1a_control_port, 0x604);
  EXPECT_TRUE(info->has_reset);
  EXPECT_EQ(info->reset_register.address, 0xcf9U);
  ASSERT_TRUE(info->has_sleep5);
  EXPECT_EQ(info->sleep5_type_a, 5);
  EXPECT_EQ(info->sleep5_type_b, 6);
}

TEST_F(AcpiTables, NoRootTable) {
  EXPECT_FALSE(acpi_parse(0, read).has_value());
  EXPECT_FALSE(acpi_parse(0x10, read).has_value());
  EXPECT_FALSE(acpi_parse(0xffffffffff, read).has_value());
  put<std::uint8_t>(kXsdt + 40, 1);  // the XSDT's checksum is wrong now, and there is no RSDT
  EXPECT_FALSE(acpi_parse(kRsdp, read).has_value());
}

TEST_F(AcpiTables, ATableWithAWrongChecksumIsLeftOut) {
  put<std::uint8_t>(kMadt + 50, 0x55);
  const Result<AcpiInfo> info = acpi_parse(kRsdp, read);
  ASSERT_TRUE(info.has_value());
  EXPECT_FALSE(info->has_madt);
  EXPECT_TRUE(info->has_fadt);
}

TEST_F(AcpiTables, EntriesOfLengthZeroAndBeyondTheEnd) {
  for (const int length : {0, 1, 200}) {
    put<std::uint8_t>(kMadt + 53, static_cast<std::uint8_t>(length));
    fix_checksum(kMadt, 74, 9);
    const Result<AcpiInfo> info = acpi_parse(kRsdp, read);
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->cpu_count, 1U);
    EXPECT_EQ(info->io_apic_count, 0U);
  }
}

TEST_F(AcpiTables, ATableThatClaimsToBeHuge) {
  put<std::uint32_t>(kMadt + 4, 0xffffffff);
  EXPECT_FALSE(acpi_parse(kRsdp, read)->has_madt);
  put<std::uint32_t>(kMadt + 4, 8);
  EXPECT_FALSE(acpi_parse(kRsdp, read)->has_madt);
}

TEST(AcpiSleep, EveryCutOfThePackageIsSafe) {
  const std::string_view aml("x\x08_S5_\x12\x08\x04\x0a\x05\x01\x00\x00", 14);
  std::uint8_t a = 0;
  std::uint8_t b = 0;
  for (std::size_t length = 0; length <= aml.size(); ++length) {
    // A copy of exactly this length, so that the sanitizer sees a read beyond it.
    const std::vector<std::byte> cut(reinterpret_cast<const std::byte*>(aml.data()),
                                     reinterpret_cast<const std::byte*>(aml.data()) + length);
    acpi_find_sleep5(cut.data(), cut.size(), a, b);
  }
  ASSERT_TRUE(acpi_find_sleep5(reinterpret_cast<const std::byte*>(aml.data()), aml.size(), a, b));
  EXPECT_EQ(a, 5);
  EXPECT_EQ(b, 1);
}

TEST(AcpiSleep, OtherUsesOfTheNameDoNotCount) {
  const std::string_view aml("Store (_S5_, Local0)");
  std::uint8_t a = 0;
  std::uint8_t b = 0;
  EXPECT_FALSE(acpi_find_sleep5(reinterpret_cast<const std::byte*>(aml.data()), aml.size(), a, b));
}

}  // namespace
}  // namespace holstein
