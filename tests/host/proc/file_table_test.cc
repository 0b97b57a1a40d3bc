// Descriptor tables against a std::map: forks of forks, every operation, every allocation failing.
#include "proc/file_table.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <vector>

#include "fs/abi.h"
#include "fs/mount.h"
#include "proc/limits.h"
#include "tests/host/fake/arena.h"
#include "vm/frame.h"

namespace holstein {
namespace {

constexpr std::uint64_t kLimit = 1024;

// A file without a place, that nothing is done with.
RefPtr<File> make_file() { return RefPtr<File>::adopt(new File(Path{}, kOpenPath)); }

TEST(FileTable, TheLowestFreeDescriptorIsTaken) {
  const RefPtr<FileTable> table = *FileTable::create();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(table->install(make_file(), CloseOnExec::kNo, kLimit), i);
  }
  ASSERT_TRUE(table->close(1).has_value());
  ASSERT_TRUE(table->close(3).has_value());
  EXPECT_EQ(table->install(make_file(), CloseOnExec::kNo, kLimit), 1);
  EXPECT_EQ(table->install(make_file(), CloseOnExec::kNo, kLimit), 3);
  EXPECT_EQ(table->install(make_file(), CloseOnExec::kNo, kLimit, 100), 100);
  EXPECT_EQ(table->install(make_file(), CloseOnExec::kNo, kLimit), 5);
  table->validate();
}

TEST(FileTable, WhatIsNotOpenIsEbadf) {
  const RefPtr<FileTable> table = *FileTable::create();
  for (const Descriptor descriptor : {-1, 0, 5, 255, 256, 1 << 20, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(table->get(descriptor).error(), Errno::kEBADF);
    EXPECT_EQ(table->close(descriptor).error(), Errno::kEBADF);
    EXPECT_EQ(table->duplicate(descriptor, 0, CloseOnExec::kNo, kLimit).error(), Errno::kEBADF);
    EXPECT_EQ(table->set_close_on_exec(descriptor, CloseOnExec::kYes).error(), Errno::kEBADF);
  }
  ASSERT_EQ(table->install(make_file(), CloseOnExec::kNo, kLimit), 0);
  for (const Descriptor target : {-1, static_cast<int>(kLimit), INT32_MAX}) {
    EXPECT_EQ(table->duplicate_to(0, target, CloseOnExec::kNo, kLimit).error(), Errno::kEBADF);
  }
}

TEST(FileTable, TheLimitIsEmfileAndTheTableGrowsUpToIt) {
  const RefPtr<FileTable> table = *FileTable::create();
  const RefPtr<File> file = make_file();
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(table->install(file, CloseOnExec::kNo, 1000), i);
  }
  EXPECT_EQ(table->install(file, CloseOnExec::kNo, 1000).error(), Errno::kEMFILE);
  EXPECT_EQ(table->install_pair(file, file, CloseOnExec::kNo, 1001).error(), Errno::kEMFILE);
  EXPECT_EQ(table->open_count(), 1000u);
  // The largest there can be, far away from the others.
  ASSERT_TRUE(
      table->duplicate_to(0, static_cast<int>(kMaxDescriptors - 1), CloseOnExec::kNo, UINT64_MAX)
          .has_value());
  EXPECT_EQ(table->next_open(1000), static_cast<int>(kMaxDescriptors - 1));
  EXPECT_EQ(table->install(file, CloseOnExec::kNo, UINT64_MAX, kMaxDescriptors - 1).error(),
            Errno::kEMFILE);
  table->validate();
}

TEST(FileTable, ForkSharesAndEitherSideChangesForItself) {
  const RefPtr<FileTable> parent = *FileTable::create();
  const RefPtr<File> file = make_file();
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(parent->install(file, CloseOnExec::kNo, kLimit).has_value());
  }
  const std::uint32_t before = file->reference_count();
  const RefPtr<FileTable> child = *parent->fork();
  EXPECT_EQ(file->reference_count(), before);  // nothing was copied
  ASSERT_TRUE(child->close(7).has_value());
  EXPECT_EQ(child->get(7).error(), Errno::kEBADF);
  EXPECT_TRUE(parent->get(7).has_value());
  ASSERT_TRUE(parent->close(299).has_value());
  EXPECT_TRUE(child->get(299).has_value());
  EXPECT_EQ(parent->install(make_file(), CloseOnExec::kNo, kLimit), 299);
  EXPECT_EQ(child->install(make_file(), CloseOnExec::kNo, kLimit), 7);
  parent->validate();
  child->validate();
}

TEST(FileTable, AFileIsClosedWhenItsLastTableLetsGo) {
  RefPtr<File> file = make_file();
  RefPtr<FileTable> parent = *FileTable::create();
  ASSERT_EQ(parent->install(file, CloseOnExec::kNo, kLimit), 0);
  RefPtr<FileTable> child = *parent->fork();
  ASSERT_TRUE(parent->close(0).has_value());
  EXPECT_EQ(file->reference_count(), 2u);  // the child's, and this test's
  child.reset();
  EXPECT_EQ(file->reference_count(), 1u);
}

TEST(FileTable, ExecClosesWhatIsMarked) {
  const RefPtr<FileTable> table = *FileTable::create();
  for (int i = 0; i < 600; ++i) {
    ASSERT_TRUE(
        table->install(make_file(), i % 3 == 0 ? CloseOnExec::kYes : CloseOnExec::kNo, kLimit)
            .has_value());
  }
  const RefPtr<FileTable> child = *table->fork();
  ASSERT_TRUE(child->prepare_close_marked().has_value());
  child->close_marked();
  EXPECT_EQ(child->open_count(), 400u);
  EXPECT_EQ(table->open_count(), 600u);
  for (int i = 0; i < 600; ++i) {
    EXPECT_EQ(child->get(i).has_value(), i % 3 != 0);
  }
  child->validate();
}

TEST(FileTable, RangesAreClosedOrMarked) {
  const RefPtr<FileTable> table = *FileTable::create();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(table->install(make_file(), CloseOnExec::kNo, kLimit).has_value());
  }
  ASSERT_TRUE(table->change_range(5, 7, FileTable::RangeAction::kSetCloseOnExec).has_value());
  EXPECT_EQ(table->close_on_exec(4), CloseOnExec::kNo);
  EXPECT_EQ(table->close_on_exec(5), CloseOnExec::kYes);
  EXPECT_EQ(table->close_on_exec(7), CloseOnExec::kYes);
  EXPECT_EQ(table->close_on_exec(8), CloseOnExec::kNo);
  ASSERT_TRUE(table->change_range(10, UINT32_MAX, FileTable::RangeAction::kClose).has_value());
  EXPECT_EQ(table->open_count(), 10u);
  ASSERT_TRUE(
      table->change_range(UINT32_MAX, UINT32_MAX, FileTable::RangeAction::kClose).has_value());
}

TEST(FileTable, DupToAnOpenDescriptorReplacesIt) {
  const RefPtr<FileTable> table = *FileTable::create();
  const RefPtr<File> first = make_file();
  const RefPtr<File> second = make_file();
  ASSERT_EQ(table->install(first, CloseOnExec::kYes, kLimit), 0);
  ASSERT_EQ(table->install(second, CloseOnExec::kYes, kLimit), 1);
  ASSERT_TRUE(table->duplicate_to(0, 1, CloseOnExec::kNo, kLimit).has_value());
  EXPECT_EQ(table->get(1)->get(), first.get());
  EXPECT_EQ(table->close_on_exec(1), CloseOnExec::kNo);
  EXPECT_EQ(second->reference_count(), 1u);
}

// ---- Model
// ----------------------------------------------------------------------------------------

struct Model {
  struct Entry {
    File* file;
    bool marked;
    bool operator==(const Entry&) const = default;
  };
  RefPtr<FileTable> table;
  std::map<int, Entry> entries;

  int lowest_free(int from) const {
    while (entries.contains(from)) ++from;
    return from;
  }
  void compare() const {
    table->validate();
    EXPECT_EQ(table->open_count(), entries.size());
    int at = -1;
    for (const auto& [descriptor, entry] : entries) {
      at = table->next_open(at + 1);
      ASSERT_EQ(at, descriptor);
      EXPECT_EQ(table->get(descriptor)->get(), entry.file);
      EXPECT_EQ(*table->close_on_exec(descriptor) == CloseOnExec::kYes, entry.marked);
    }
    EXPECT_EQ(table->next_open(at + 1), -1);
  }
};

TEST(FileTable, RandomOperationsOnForksOfForks) {
  std::mt19937 random(7);
  std::vector<RefPtr<File>> files;
  for (int i = 0; i < 10; ++i) files.push_back(make_file());
  std::vector<std::unique_ptr<Model>> models;
  models.push_back(std::make_unique<Model>(*FileTable::create()));
  for (int round = 0; round < 20000; ++round) {
    Model& model = *models[random() % models.size()];
    const int descriptor = static_cast<int>(random() % 700);
    const RefPtr<File>& file = files[random() % files.size()];
    const bool marked = random() % 2 == 0;
    const CloseOnExec mark = marked ? CloseOnExec::kYes : CloseOnExec::kNo;
    switch (random() % 7) {
      case 0:
      case 1: {
        const int from = random() % 2 == 0 ? 0 : descriptor;
        const int expected = model.lowest_free(from);
        ASSERT_EQ(model.table->install(file, mark, 2000, from), expected);
        model.entries[expected] = {file.get(), marked};
        break;
      }
      case 2:
        ASSERT_EQ(model.table->close(descriptor).has_value(), model.entries.erase(descriptor) == 1);
        break;
      case 3: {
        const int to = static_cast<int>(random() % 700);
        const bool is_open = model.entries.contains(descriptor);
        if (to == descriptor) break;
        ASSERT_EQ(model.table->duplicate_to(descriptor, to, mark, 2000).has_value(), is_open);
        if (is_open) model.entries[to] = {model.entries[descriptor].file, marked};
        break;
      }
      case 4:
        if (model.entries.contains(descriptor)) {
          ASSERT_TRUE(model.table->set_close_on_exec(descriptor, mark).has_value());
          model.entries[descriptor].marked = marked;
        }
        break;
      case 5:
        if (models.size() < 6) {
          models.push_back(std::make_unique<Model>(*model.table->fork(), model.entries));
        } else {
          models.erase(models.begin() + static_cast<long>(random() % models.size()));
        }
        break;
      default: {
        const int last = descriptor + static_cast<int>(random() % 20);
        ASSERT_TRUE(model.table
                        ->change_range(static_cast<unsigned>(descriptor),
                                       static_cast<unsigned>(last), FileTable::RangeAction::kClose)
                        .has_value());
        model.entries.erase(model.entries.lower_bound(descriptor), model.entries.upper_bound(last));
        break;
      }
    }
    if (round % 500 == 0) {
      for (const auto& each : models) each->compare();
    }
  }
}

// What if each allocation of an operation fails in turn?
template <class Operation>
void expect_unchanged_by_failure(Operation operation) {
  fake::Arena arena(16);
  const RefPtr<File> file = make_file();
  const std::uint64_t allocations = fake::fail_each_allocation([&](std::uint64_t nth) {
    allocation_fail_nth(0, false);
    const RefPtr<FileTable> table = *FileTable::create();
    for (int i = 0; i < 260; ++i) {
      ASSERT_TRUE(table->install(file, CloseOnExec::kYes, kLimit).has_value());
    }
    const RefPtr<FileTable> child = *table->fork();
    allocation_fail_nth(nth, false);
    const bool done = operation(*child, file);
    const bool was_hit = allocation_failures().failed != 0;
    allocation_fail_nth(0, false);
    EXPECT_EQ(done, !was_hit);
    child->validate();
    EXPECT_EQ(table->open_count(), 260u);
    if (!done) {
      EXPECT_EQ(child->open_count(), 260u);
    }
  });
  EXPECT_GT(allocations, 0u);
}

TEST(FileTable, FailedAllocationsChangeNothing) {
  using File = const RefPtr<File>&;
  expect_unchanged_by_failure([](FileTable& t, File) { return t.close(3).has_value(); });
  expect_unchanged_by_failure([](FileTable& t, File file) {
    return t.install(file, CloseOnExec::kNo, kLimit).has_value();
  });
  expect_unchanged_by_failure([](FileTable& t, File file) {
    return t.install_pair(file, file, CloseOnExec::kNo, kLimit).has_value();
  });
  expect_unchanged_by_failure([](FileTable& t, File) {
    return t.duplicate_to(0, 900, CloseOnExec::kNo, kLimit).has_value();
  });
  expect_unchanged_by_failure(
      [](FileTable& t, File) { return t.prepare_close_marked().has_value(); });
}

}  // namespace
}  // namespace holstein
