// Contents of files in tmpfs: against a string, and at every edge of a page.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/host/fake/scheduler.h"
#include "tests/host/fs/fake_ports.h"
#include "tests/host/fs/file_tree.h"

namespace holstein::testing {
namespace {

constexpr int kENOSPC = static_cast<int>(Errno::kENOSPC);
constexpr int kEFBIG = static_cast<int>(Errno::kEFBIG);
constexpr int kETXTBSY = static_cast<int>(Errno::kETXTBSY);

std::string text_of_size(std::size_t size, char seed) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(seed + i % 61);
  return text;
}

TEST(TmpfsTest, RandomReadsAndWritesAgreeWithAString) {
  FileTree tree;
  std::mt19937 random(7);
  for (int run = 0; run < 30; ++run) {
    const RefPtr<File> file = *tree.open("/f", kOpenReadWrite | kOpenCreate | kOpenTruncate);
    std::string model;
    for (int i = 0; i < 120; ++i) {
      const std::size_t offset = random() % 30000;
      const std::size_t size = random() % 9000;
      switch (random() % 5) {
        case 0:
        case 1: {
          const std::string text = text_of_size(size, static_cast<char>('0' + i % 60));
          IoSource source = source_of(text);
          const Result<std::size_t> done =
              file->write_at(source, static_cast<std::int64_t>(offset));
          ASSERT_TRUE(done.has_value());
          ASSERT_EQ(*done, size);
          if (size != 0) {
            if (model.size() < offset + size) model.resize(offset + size);
            model.replace(offset, size, text);
          }
          break;
        }
        case 2: {
          std::string read(size, '?');
          IoSink sink = IoSink::to_kernel(std::as_writable_bytes(std::span(read)));
          const Result<std::size_t> done = file->read_at(sink, static_cast<std::int64_t>(offset));
          ASSERT_TRUE(done.has_value());
          read.resize(*done);
          ASSERT_EQ(read, offset < model.size() ? model.substr(offset, size) : "");
          break;
        }
        case 3:
          ASSERT_EQ(code_of(file->truncate(static_cast<std::int64_t>(offset))), 0);
          model.resize(offset);
          break;
        default:
          if (size == 0) break;
          ASSERT_EQ(code_of(file->allocate(kFallocPunchHole | kFallocKeepSize,
                                           static_cast<std::int64_t>(offset),
                                           static_cast<std::int64_t>(size))),
                    0);
          for (std::size_t j = offset; j < std::min(offset + size, model.size()); ++j) {
            model[j] = '\0';
          }
          break;
      }
      ASSERT_EQ(vfs::stat(file->path()).size_bytes, model.size());
    }
    ASSERT_EQ(tree.get("/f"), model);
  }
}

TEST(TmpfsTest, WriteThatGrowsLeavesNothingOfAMappingBehindTheOldEnd) {
  FileTree tree;
  const RefPtr<File> file = *tree.open("/f", kOpenReadWrite | kOpenCreate);
  ASSERT_EQ(FileTree::write_all(*file, "abc"), 0);
  // What a mapping wrote behind the end of the file.
  PageCache& cache = *file->inode().page_cache();
  const PhysAddr frame = *cache.get_page(0, PageCache::Missing::kCreate);
  phys_to_virt<char>(frame)[5] = 'X';
  phys_to_virt<char>(frame)[100] = 'Y';
  frame_release(frame_of(frame));
  const std::string source_text("end");
  IoSource source = source_of(source_text);
  ASSERT_TRUE(file->write_at(source, 10).has_value());
  EXPECT_EQ(tree.get("/f"), std::string("abc\0\0\0\0\0\0\0end", 13));
  ASSERT_EQ(code_of(file->truncate(200)), 0);
  EXPECT_EQ(tree.get("/f").substr(13), std::string(187, '\0'));
}

TEST(TmpfsTest, AppendAlwaysWritesAtTheEnd) {
  FileTree tree;
  ASSERT_EQ(tree.put("/f", "one"), 0);
  const RefPtr<File> file = *tree.open("/f", kOpenReadWrite | kOpenAppend);
  ASSERT_EQ(FileTree::write_all(*file, "two"), 0);
  ASSERT_EQ(*file->seek(0, Whence::kSet), 0);
  ASSERT_EQ(FileTree::write_all(*file, "three"), 0);
  EXPECT_EQ(file->position(), 11);
  EXPECT_EQ(tree.get("/f"), "onetwothree");
}

TEST(TmpfsTest, HolesTakeNoMemoryAndAreFound) {
  FileTree tree;
  const RefPtr<File> file = *tree.open("/f", kOpenReadWrite | kOpenCreate);
  ASSERT_EQ(code_of(file->truncate(std::int64_t{1} << 40)), 0);
  EXPECT_EQ(tree.stat("/f").blocks, 0u);
  const std::string source_text("x");
  IoSource source = source_of(source_text);
  ASSERT_TRUE(file->write_at(source, 3 * 4096 + 5).has_value());
  EXPECT_EQ(tree.stat("/f").blocks, 8u);
  EXPECT_EQ(*file->seek(0, Whence::kData), 3 * 4096);
  EXPECT_EQ(*file->seek(3 * 4096 + 7, Whence::kData), 3 * 4096 + 7);
  EXPECT_EQ(*file->seek(3 * 4096, Whence::kHole), 4 * 4096);
  EXPECT_EQ(*file->seek(1, Whence::kHole), 1);
  ASSERT_EQ(code_of(file->truncate(3 * 4096 + 8)), 0);
  EXPECT_EQ(*file->seek(3 * 4096, Whence::kHole), 3 * 4096 + 8);
  EXPECT_EQ(code_of(file->seek(3 * 4096 + 8, Whence::kData)), static_cast<int>(Errno::kENXIO));
}

TEST(TmpfsTest, SeekRefusesWhatNoOffsetIs) {
  FileTree tree;
  ASSERT_EQ(tree.put("/f", "0123456789"), 0);
  const RefPtr<File> file = *tree.open("/f", kOpenReadOnly);
  EXPECT_EQ(*file->seek(-3, Whence::kEnd), 7);
  EXPECT_EQ(FileTree::read_some(*file, 10), "789");
  EXPECT_EQ(*file->seek(100, Whence::kSet), 100);
  EXPECT_EQ(FileTree::read_some(*file, 10), "");
  EXPECT_EQ(code_of(file->seek(-1, Whence::kSet)), static_cast<int>(Errno::kEINVAL));
  EXPECT_EQ(code_of(file->seek(-101, Whence::kCurrent)), static_cast<int>(Errno::kEINVAL));
  EXPECT_EQ(code_of(file->seek(INT64_MAX, Whence::kCurrent)), static_cast<int>(Errno::kEOVERFLOW));
  EXPECT_EQ(code_of(file->seek(0, static_cast<Whence>(9))), static_cast<int>(Errno::kEINVAL));
  EXPECT_EQ(file->position(), 100);
}

TEST(TmpfsTest, TheLimitOfTheFileSystemIsENOSPC) {
  FileTree tree(64, {.max_pages = 4, .max_inodes = 4});
  const RefPtr<File> file = *tree.open("/f", kOpenReadWrite | kOpenCreate);
  const std::string five_pages = text_of_size(5 * 4096, 'a');
  IoSource source = source_of(five_pages);
  EXPECT_EQ(*file->write(source), 4u * 4096);
  IoSource rest = source_of(five_pages);
  EXPECT_EQ(code_of(file->write(rest)), kENOSPC);
  EXPECT_EQ(tree.put("/g", "x"), kENOSPC);
  ASSERT_EQ(code_of(file->truncate(4096)), 0);
  EXPECT_EQ(tree.put("/g", "x"), 0);
  EXPECT_EQ(tree.mkdir("/d"), 0);
  EXPECT_EQ(tree.mkdir("/e"), kENOSPC);  // the fifth inode
  ASSERT_EQ(tree.unlink("/g"), 0);
  EXPECT_EQ(tree.mkdir("/e"), 0);
}

TEST(TmpfsTest, PagesThatComeOtherwiseThanByWritingCountToo) {
  FileTree tree(64, {.max_pages = 4});
  const RefPtr<File> file = *tree.open("/f", kOpenReadWrite | kOpenCreate);
  ASSERT_EQ(code_of(file->truncate(8 * 4096)), 0);
  PageCache& cache = *file->inode().page_cache();
  // As faults of a mapping take them: each counts at once, and the fifth is refused.
  for (std::uint64_t index = 0; index < 4; ++index) {
    const Result<PhysAddr> page = cache.get_page(index, PageCache::Missing::kCreate);
    ASSERT_TRUE(page.has_value()) << index;
    frame_release(frame_of(*page));
  }
  EXPECT_EQ(cache.get_page(4, PageCache::Missing::kCreate).error(), Errno::kENOSPC);
  EXPECT_EQ(tree.put("/g", "x"), kENOSPC);
  EXPECT_EQ(vfs::statistics(*tree.find("/")).blocks_free, 0u);
  ASSERT_EQ(code_of(file->truncate(4096)), 0);
  EXPECT_EQ(vfs::statistics(*tree.find("/")).blocks_free, 3u);
  EXPECT_EQ(tree.put("/g", "x"), 0);
  ASSERT_EQ(tree.unlink("/g"), 0);
  EXPECT_EQ(vfs::statistics(*tree.find("/")).blocks_free, 3u);
}

TEST(TmpfsTest, RemountingChangesTheLimitsButNotBelowWhatIsThere) {
  FileTree tree(64, {.max_pages = 4, .max_inodes = 4});
  const RefPtr<File> file = *tree.open("/f", kOpenReadWrite | kOpenCreate);
  const std::string four_pages = text_of_size(4 * 4096, 'a');
  ASSERT_EQ(FileTree::write_all(*file, four_pages), 0);
  Superblock& superblock = file->inode().superblock();
  EXPECT_EQ(code_of(superblock.remount("size=12k")), static_cast<int>(Errno::kEINVAL));
  EXPECT_EQ(code_of(superblock.remount("nr_inodes=1")), static_cast<int>(Errno::kEINVAL));
  EXPECT_EQ(code_of(superblock.remount("nonsense")), static_cast<int>(Errno::kEINVAL));
  EXPECT_EQ(tree.put("/g", "x"), kENOSPC);
  ASSERT_EQ(code_of(superblock.remount("size=20k")), 0);
  EXPECT_EQ(tree.put("/g", "x"), 0);
  EXPECT_EQ(tree.put("/h", "x"), kENOSPC);
  ASSERT_EQ(code_of(superblock.remount("size=0,nr_inodes=0")), 0);
  EXPECT_EQ(tree.put("/h", "x"), 0);
  EXPECT_EQ(tree.put("/i", "x"), 0);
}

TEST(TmpfsTest, MemoryThatEndsIsENOSPCAndComesBack) {
  FileTree tree;
  tree.arena.take_all_but(40);
  const RefPtr<File> file = *tree.open("/f", kOpenReadWrite | kOpenCreate);
  const std::string chunk = text_of_size(64 * 4096, 'a');
  IoSource source = source_of(chunk);
  const Result<std::size_t> done = file->write(source);
  ASSERT_TRUE(done.has_value());
  EXPECT_LT(*done, chunk.size());
  EXPECT_EQ(tree.stat("/f").size_bytes, *done);
  IoSource more = source_of(chunk);
  EXPECT_EQ(code_of(file->write(more)), kENOSPC);
  EXPECT_EQ(tree.get("/f"), chunk.substr(0, *done));
  ASSERT_EQ(code_of(file->truncate(0)), 0);
  tree.arena.give_back();
}

TEST(TmpfsTest, FileSizeLimit) {
  FileTree tree;
  fake_caller().file_size_limit = 10;
  take_sent_signals();
  const RefPtr<File> file = *tree.open("/f", kOpenReadWrite | kOpenCreate);
  const std::string source_text("0123456789ab");
  IoSource source = source_of(source_text);
  EXPECT_EQ(*file->write(source), 10u);
  EXPECT_EQ(code_of(file->write(source)), kEFBIG);
  EXPECT_EQ(code_of(file->truncate(11)), kEFBIG);
  const auto signals = take_sent_signals();
  ASSERT_EQ(signals.size(), 2u);
  EXPECT_EQ(signals[0], (std::pair<std::int32_t, int>(0, 25)));
  fake_caller() = {};
}

TEST(TmpfsTest, ProgramsThatRunAreNotWritten) {
  FileTree tree;
  ASSERT_EQ(tree.put("/program", "x", 0755), 0);
  {
    const RefPtr<File> program =
        *vfs::open_executable(tree.context, nullptr, "/program", kOpenReadOnly);
    Result<WriteDenial> denial = WriteDenial::acquire(program->inode());
    ASSERT_TRUE(denial.has_value());
    const WriteDenial second = denial->share();
    EXPECT_EQ(code_of(tree.open("/program", kOpenWriteOnly)), kETXTBSY);
    EXPECT_EQ(code_of(tree.open("/program", kOpenReadOnly | kOpenTruncate)), kETXTBSY);
    EXPECT_EQ(code_of(vfs::truncate(*tree.find("/program"), 0, kKernelCredentials)), kETXTBSY);
    EXPECT_EQ(code_of(tree.open("/program", kOpenReadOnly)), 0);
  }
  const RefPtr<File> writer = *tree.open("/program", kOpenReadWrite);
  EXPECT_EQ(code_of(WriteDenial::acquire(writer->inode())), kETXTBSY);
}

TEST(TmpfsTest, AFileWithoutANameLivesAsLongAsItIsOpen) {
  FileTree tree;
  ASSERT_EQ(tree.put("/f", "kept"), 0);
  const RefPtr<File> file = *tree.open("/f", kOpenReadWrite);
  ASSERT_EQ(tree.unlink("/f"), 0);
  EXPECT_EQ(vfs::stat(file->path()).links, 0u);
  EXPECT_EQ(FileTree::read_all(*file), "kept");
  EXPECT_EQ(tree.text_of(file->path()), "/f (deleted)");
  ASSERT_EQ(tree.put("/f", "new"), 0);
  *file->seek(0, Whence::kSet);
  EXPECT_EQ(FileTree::read_all(*file), "kept");
}

TEST(TmpfsTest, ReaddirShowsEveryNameOnceWhileOthersComeAndGo) {
  FileTree tree;
  ASSERT_EQ(tree.mkdir("/d"), 0);
  for (int i = 0; i < 50; ++i) ASSERT_EQ(tree.put("/d/stays" + std::to_string(i), ""), 0);
  const RefPtr<File> file = *tree.open("/d", kOpenReadOnly | kOpenDirectory);
  std::vector<std::string> seen;
  alignas(8) char buffer[128];
  for (int i = 0;; ++i) {
    IoSink sink = IoSink::to_kernel(std::as_writable_bytes(std::span(buffer)));
    const Result<std::size_t> done = file->getdents64(sink);
    ASSERT_TRUE(done.has_value());
    if (*done == 0) break;
    for (std::size_t at = 0; at < *done;) {
      std::uint16_t length = 0;
      std::memcpy(&length, buffer + at + 16, sizeof(length));
      seen.emplace_back(buffer + at + 19);
      at += length;
    }
    ASSERT_EQ(tree.put("/d/new" + std::to_string(i), ""), 0);
    if (i >= 3) ASSERT_EQ(tree.unlink("/d/new" + std::to_string(i - 3)), 0);
    if (i > 100) break;
  }
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(std::count(seen.begin(), seen.end(), "stays" + std::to_string(i)), 1) << i;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), "."), 1);
  EXPECT_EQ(std::count(seen.begin(), seen.end(), ".."), 1);
  // A buffer too small for one record.
  *file->seek(0, Whence::kSet);
  IoSink tiny = IoSink::to_kernel(std::as_writable_bytes(std::span(buffer).first(8)));
  EXPECT_EQ(code_of(file->getdents64(tiny)), static_cast<int>(Errno::kEINVAL));
}

TEST(TmpfsTest, EveryFailingAllocationLeavesTheTreeAsItWas) {
  FileTree tree;
  ASSERT_EQ(tree.mkdir("/d"), 0);
  ASSERT_EQ(tree.put("/d/a", "aaa"), 0);
  ASSERT_EQ(tree.put("/b", "bbb"), 0);
  const auto state = [&tree] {
    std::string all;
    for (const std::string& folder : {std::string("/"), std::string("/d/")}) {
      for (const std::string& name : tree.list(folder)) {
        all += folder + name + " " + std::to_string(tree.stat(folder + name).links) + " ";
        if (tree.stat(folder + name).type == FileType::kRegular) all += tree.get(folder + name);
        all += "\n";
      }
    }
    return all;
  };
  const std::string before = state();
  const auto try_call = [&](auto call, auto undo) {
    fake::fail_each_allocation([&](std::uint64_t nth) {
      const int code = call();
      allocation_fail_nth(0, false);
      if (code == 0) {
        undo();
      } else {
        EXPECT_TRUE(code == static_cast<int>(Errno::kENOMEM) || code == kENOSPC) << code;
      }
      EXPECT_EQ(state(), before) << "allocation " << nth;
    });
  };
  try_call([&] { return tree.mkdir("/new"); }, [&] { tree.rmdir("/new"); });
  try_call([&] { return tree.symlink("target", "/new"); }, [&] { tree.unlink("/new"); });
  try_call([&] { return tree.link("/b", "/d/b"); }, [&] { tree.unlink("/d/b"); });
  try_call([&] { return tree.rename("/b", "/d/new"); }, [&] { tree.rename("/d/new", "/b"); });
  try_call([&] { return tree.rename("/d/a", "/b", kRenameExchange); },
           [&] { tree.rename("/d/a", "/b", kRenameExchange); });
  EXPECT_EQ(tree.get("/b"), "bbb");
}

TEST(TmpfsTest, UnnamedFiles) {
  FileTree tree;
  ASSERT_EQ(tree.mkdir("/d"), 0);
  const RefPtr<File> file = *tree.open("/d", kOpenReadWrite | kOpenTemporaryFile, 0600);
  ASSERT_EQ(FileTree::write_all(*file, "secret"), 0);
  EXPECT_EQ(vfs::stat(file->path()).links, 0u);
  EXPECT_EQ(tree.rmdir("/d"), 0);
  *file->seek(0, Whence::kSet);
  EXPECT_EQ(FileTree::read_all(*file), "secret");
  EXPECT_EQ(code_of(tree.open("/", kOpenReadOnly | kOpenTemporaryFile)),
            static_cast<int>(Errno::kEINVAL));
  const RefPtr<File> memory = *vfs::make_memory_file("name", kKernelCredentials);
  ASSERT_EQ(FileTree::write_all(*memory, "in memory"), 0);
  String text;
  ASSERT_TRUE(append_path(memory->path(), tree.context.root, text).has_value());
  EXPECT_EQ(text.view(), "/memfd:name (deleted)");
}

TEST(TmpfsTest, OptionsOfMount) {
  FileTree tree;
  const Result<TmpfsOptions> options = parse_tmpfs_options("size=64k,mode=755,,uid=5,nr_inodes=10");
  ASSERT_TRUE(options.has_value());
  EXPECT_EQ(options->max_pages, 16u);
  EXPECT_EQ(options->permissions, 0755u);
  EXPECT_EQ(options->uid, 5u);
  EXPECT_EQ(options->max_inodes, 10u);
  for (const char* bad : {"size=", "size=x", "size=101%", "mode=9", "mode=77777", "nothing",
                          "uid=4294967296", "size=99999999999999999999g", "size=-1"}) {
    EXPECT_FALSE(parse_tmpfs_options(bad).has_value()) << bad;
  }
}

TEST(TmpfsTest, TimesFollowTheCalls) {
  FileTree tree;
  ASSERT_EQ(tree.put("/f", "x"), 0);
  const Path place = *tree.find("/f");
  using Kind = vfs::TimeChange::Kind;
  ASSERT_TRUE(
      vfs::change_times(place, {Kind::kSet, 1'000'000'001}, {Kind::kSet, -1}, kKernelCredentials)
          .has_value());
  const LinuxStat stat = vfs::stat(place).to_stat();
  EXPECT_EQ(stat.access_seconds, 1u);
  EXPECT_EQ(stat.access_nanoseconds, 1u);
  EXPECT_EQ(static_cast<std::int64_t>(stat.modify_seconds), -1);
  EXPECT_EQ(stat.modify_nanoseconds, 999'999'999u);
  // Only the owner sets times; whoever may write sets them to now.
  const PathContext user = tree.as_user(1000, 1000);
  EXPECT_EQ(code_of(vfs::change_times(place, {Kind::kNow}, {Kind::kNow}, user.credentials)),
            static_cast<int>(Errno::kEACCES));
  EXPECT_EQ(code_of(vfs::change_times(place, {Kind::kSet, 5}, {}, user.credentials)),
            static_cast<int>(Errno::kEPERM));
}

}  // namespace
}  // namespace holstein::testing
