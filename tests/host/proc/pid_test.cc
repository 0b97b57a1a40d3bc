// Numbers go round, are never given out twice, and come back.
#include "proc/pid.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace holstein {
namespace {

void release_all(std::vector<PidRecord*>& records) {
  for (PidRecord* record : records) release_pid(record);
  records.clear();
}

TEST(Pid, NumbersAscendAndAreNotReusedAtOnce) {
  PidRecord* first = *allocate_pid();
  const ProcessId number = first->number;
  release_pid(first);
  PidRecord* second = *allocate_pid();
  EXPECT_EQ(second->number, number + 1);
  release_pid(second);
}

TEST(Pid, AWantedNumberIsGivenOnce) {
  PidRecord* record = *allocate_pid(4711);
  EXPECT_EQ(record->number, 4711);
  EXPECT_EQ(allocate_pid(4711).error(), Errno::kEEXIST);
  EXPECT_EQ(allocate_pid(-1).error(), Errno::kEINVAL);
  EXPECT_EQ(allocate_pid(kDefaultPidMax).error(), Errno::kEINVAL);
  release_pid(record);
  PidRecord* again = *allocate_pid(4711);
  release_pid(again);
}

TEST(Pid, TheRecordLivesAsLongAsItsLastUser) {
  PidRecord* record = *allocate_pid();
  const ProcessId number = record->number;
  SpinGuard guard(process_links);
  retain_pid_locked(*record);
  release_pid_locked(record);
  EXPECT_EQ(find_pid_locked(number), record);
  release_pid_locked(record);
  EXPECT_EQ(find_pid_locked(number), nullptr);
}

TEST(Pid, StrangeNumbersAreNotFound) {
  SpinGuard guard(process_links);
  for (const ProcessId number : {0, -1, INT32_MIN, kPidMaxLimit, INT32_MAX}) {
    EXPECT_EQ(find_pid_locked(number), nullptr);
  }
}

TEST(Pid, AllNumbersCanBeTakenAndTheNextIsEagain) {
  constexpr ProcessId kMaximum = 2000;
  ASSERT_TRUE(set_pid_max(kMaximum).has_value());
  std::vector<PidRecord*> records;
  std::set<ProcessId> numbers;
  while (true) {
    const Result<PidRecord*> record = allocate_pid();
    if (!record.has_value()) {
      EXPECT_EQ(record.error(), Errno::kEAGAIN);
      break;
    }
    EXPECT_TRUE(numbers.insert((*record)->number).second);
    EXPECT_LT((*record)->number, kMaximum);
    records.push_back(*record);
  }
  // After the first round the low numbers stay reserved.
  EXPECT_GE(records.size(), static_cast<std::size_t>(kMaximum - kReservedPids));
  const ProcessId freed = records[1500]->number;
  release_pid(records[1500]);
  records[1500] = *allocate_pid();
  EXPECT_EQ(records[1500]->number, freed);
  release_all(records);
  ASSERT_TRUE(set_pid_max(kDefaultPidMax).has_value());
}

TEST(Pid, IterationVisitsEachNumberInOrder) {
  std::vector<PidRecord*> records;
  for (const ProcessId number : {700, 511, 512, 513, 30000})
    records.push_back(*allocate_pid(number));
  std::vector<ProcessId> seen;
  {
    SpinGuard guard(process_links);
    for (PidRecord* record = next_pid_locked(1); record != nullptr;
         record = next_pid_locked(record->number + 1)) {
      seen.push_back(record->number);
    }
  }
  EXPECT_EQ(seen, (std::vector<ProcessId>{511, 512, 513, 700, 30000}));
  release_all(records);
}

TEST(Pid, TheMaximumHasBounds) {
  EXPECT_EQ(set_pid_max(300).error(), Errno::kEINVAL);
  EXPECT_EQ(set_pid_max(kPidMaxLimit + 1).error(), Errno::kEINVAL);
}

}  // namespace
}  // namespace holstein
