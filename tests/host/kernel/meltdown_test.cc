// On which processors is page-table isolation the default?
#include "kernel/meltdown.h"

#include <gtest/gtest.h>

namespace holstein {
namespace {

constexpr std::uint64_t kRdclNo = 1;

bool is_affected(std::string_view vendor, unsigned family, unsigned model,
                 std::uint64_t arch_capabilities = 0) {
  const MeltdownVerdict verdict = meltdown_verdict(
      {.vendor = vendor, .family = family, .model = model, .arch_capabilities = arch_capabilities});
  EXPECT_GT(std::string_view(verdict.reason).size(), 0U);
  return verdict.is_affected;
}

TEST(Meltdown, AmdsProcessorsAreNotAffected) {
  EXPECT_FALSE(is_affected("AuthenticAMD", 0x0f, 0x6b));  // QEMU's `max`
  EXPECT_FALSE(is_affected("AuthenticAMD", 0x19, 0x21));
  EXPECT_FALSE(is_affected("HygonGenuine", 0x18, 0x00));
}

TEST(Meltdown, IntelsAreUnlessTheySayThatTheyAreNot) {
  EXPECT_TRUE(is_affected("GenuineIntel", 6, 0x5e));  // Skylake
  EXPECT_TRUE(is_affected("GenuineIntel", 6, 0x5e, ~kRdclNo));
  EXPECT_FALSE(is_affected("GenuineIntel", 6, 0x6a, kRdclNo));  // Ice Lake
  EXPECT_FALSE(is_affected("GenuineIntel", 6, 0x6a, ~std::uint64_t{0}));
}

TEST(Meltdown, AtomsThatWorkInOrderAreNot) {
  EXPECT_FALSE(is_affected("GenuineIntel", 6, 0x1c));
  EXPECT_FALSE(is_affected("GenuineIntel", 6, 0x36));
  EXPECT_TRUE(is_affected("GenuineIntel", 6, 0x37));  // Silvermont: out of order
  EXPECT_TRUE(is_affected("GenuineIntel", 15, 0x1c));
}

TEST(Meltdown, WhoIsNotKnownIsAffected) {
  EXPECT_TRUE(is_affected("CentaurHauls", 7, 0x0b));
  EXPECT_TRUE(is_affected("", 6, 0));
  EXPECT_FALSE(is_affected("CentaurHauls", 7, 0x0b, kRdclNo));
}

}  // namespace
}  // namespace holstein
