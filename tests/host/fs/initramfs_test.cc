// Archives, sound and hostile.
#include "fs/initramfs.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/host/fs/file_tree.h"
#include "vm/page_cache.h"

namespace holstein::testing {
namespace {

struct Member {
  std::string name;
  std::uint32_t mode = 0100644;
  std::string contents = {};
  std::uint32_t inode = 1;
  std::uint32_t links = 1;
  std::uint32_t special_major = 0, special_minor = 0;
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t modified = 1'600'000'000;
  std::size_t name_padding = 0;  // NULs behind the name
};

std::string encode(const Member& member) {
  char header[111];
  std::snprintf(header, sizeof(header),
                "070701%08X%08X%08X%08X%08X%08X%08zX%08X%08X%08X%08X%08zX%08X", member.inode,
                member.mode, member.uid, member.gid, member.links, member.modified,
                member.contents.size(), 0, 0, member.special_major, member.special_minor,
                member.name.size() + 1 + member.name_padding, 0);
  std::string bytes = header + member.name + std::string(1 + member.name_padding, '\0');
  bytes.resize(align_up(bytes.size(), 4));
  bytes += member.contents;
  bytes.resize(align_up(bytes.size(), 4));
  return bytes;
}

std::string encode(const std::vector<Member>& members) {
  std::string bytes;
  for (const Member& member : members) bytes += encode(member);
  bytes += encode(Member{.name = "TRAILER!!!", .mode = 0});
  bytes.resize(align_up(bytes.size(), 512));
  return bytes;
}

struct InitramfsTest : ::testing::Test {
  int unpack(const std::string& archive) {
    report = {};
    return code_of(unpack_initramfs(std::as_bytes(std::span(archive)), *tree.context.root.dentry,
                                    ArchivePages::kCopy, report));
  }
  FileTree tree;
  InitramfsReport report;
};

const std::vector<Member> kSample = {
    {.name = ".", .mode = 040755},
    {.name = "bin", .mode = 040711, .modified = 1'500'000'000},
    {.name = "bin/tool", .mode = 0104755, .contents = "program", .uid = 3, .gid = 4},
    {.name = "bin/sh", .mode = 0120777, .contents = "tool"},
    {.name = "dev", .mode = 040755},
    {.name = "dev/zero", .mode = 020666, .special_major = 1, .special_minor = 5},
    {.name = "pipe", .mode = 010600},
    {.name = "one", .mode = 0100600, .inode = 9, .links = 3},
    {.name = "three", .mode = 0100600, .inode = 9, .links = 3},
    {.name = "two", .mode = 0100600, .contents = "contents", .inode = 9, .links = 3},
    {.name = "empty", .mode = 0100600, .inode = 10, .links = 1},
};

TEST_F(InitramfsTest, EverythingOfAnArchiveIsThere) {
  ASSERT_EQ(unpack(encode(kSample)), 0) << report.problem;
  EXPECT_EQ(report.entries, kSample.size());
  EXPECT_EQ(tree.get("/bin/tool"), "program");
  const Attributes tool = tree.stat("/bin/tool");
  EXPECT_EQ(tool.mode(), 0104755u);
  EXPECT_EQ(tool.uid, 3u);
  EXPECT_EQ(tool.gid, 4u);
  EXPECT_EQ(tool.modified, 1'600'000'000'000'000'000);
  EXPECT_EQ(tree.stat("/bin").mode(), 040711u);
  EXPECT_EQ(tree.stat("/bin").modified, 1'500'000'000'000'000'000);
  EXPECT_EQ(tree.text_of(*tree.find("/bin/sh")), "/bin/tool");
  EXPECT_EQ(tree.stat("/dev/zero").special_device, make_device(1, 5));
  EXPECT_EQ(tree.stat("/pipe").type, FileType::kFifo);
  for (const char* name : {"/one", "/two", "/three"}) {
    EXPECT_EQ(tree.get(name), "contents") << name;
    EXPECT_EQ(tree.stat(name).links, 3u);
    EXPECT_EQ(tree.stat(name).inode, tree.stat("/one").inode);
  }
  EXPECT_EQ(tree.stat("/empty").size_bytes, 0u);
}

TEST_F(InitramfsTest, NamesInEveryForm) {
  ASSERT_EQ(unpack(encode({{.name = "./a", .mode = 040755},
                           {.name = "/b", .contents = "1"},
                           {.name = "a//c", .contents = "2", .name_padding = 77},
                           {.name = "not/made/before", .contents = "3"},
                           {.name = "a/", .mode = 040700},
                           {.name = "b", .contents = "again"}})),
            0)
      << report.problem;
  EXPECT_EQ(tree.get("/b"), "again");
  EXPECT_EQ(tree.get("/a/c"), "2");
  EXPECT_EQ(tree.get("/not/made/before"), "3");
  EXPECT_EQ(tree.stat("/a").permissions, 0700u);
}

TEST_F(InitramfsTest, SeveralArchivesBehindOneAnother) {
  ASSERT_EQ(
      unpack(encode({{.name = "a", .contents = "1"}}) + encode({{.name = "b", .contents = "2"}})),
      0);
  EXPECT_EQ(tree.get("/a"), "1");
  EXPECT_EQ(tree.get("/b"), "2");
}

TEST(InitramfsDamageTest, CutAtEveryByteItIsRefusedOrWhole) {
  const std::string archive = encode(kSample);
  const std::size_t trailer = align_up(archive.rfind("TRAILER!!!") + sizeof("TRAILER!!!"), 4);
  for (std::size_t size = 0; size < archive.size(); ++size) {
    FileTree fresh(8);
    InitramfsReport cut;
    const std::string part = archive.substr(0, size);
    const int result = code_of(unpack_initramfs(
        std::as_bytes(std::span(part)), *fresh.context.root.dentry, ArchivePages::kCopy, cut));
    if (size < trailer) {
      EXPECT_EQ(result, static_cast<int>(Errno::kEINVAL)) << size;
      EXPECT_NE(cut.problem, nullptr);
      EXPECT_LE(cut.problem_offset, size);
    } else {
      EXPECT_EQ(result, 0) << size;
    }
  }
}

TEST(InitramfsDamageTest, EveryByteChangedNeverCrashes) {
  const std::string archive = encode({{.name = "d", .mode = 040755},
                                      {.name = "d/f", .contents = "contents"},
                                      {.name = "l", .mode = 0120777, .contents = "d/f"}});
  for (std::size_t i = 0; i < archive.size(); ++i) {
    for (const char value : {'\0', '0', 'F', '/', '.', '\xff'}) {
      std::string changed = archive;
      changed[i] = value;
      FileTree fresh(8);
      InitramfsReport ignored;
      (void)unpack_initramfs(std::as_bytes(std::span(changed)), *fresh.context.root.dentry,
                             ArchivePages::kCopy, ignored);
    }
  }
}

TEST_F(InitramfsTest, WhatIsRefusedAndHow) {
  std::string no_end = encode(Member{.name = "x"});
  no_end.replace(110, 2, "xx");
  std::string bad_digit = encode({{.name = "x"}});
  bad_digit[20] = 'G';
  const struct {
    std::string archive;
    const char* problem;
  } cases[] = {
      {"", "it is empty"},
      {std::string(4096, '\0'), "no newc header where one must be"},
      {"\x1f\x8b" + std::string(200, 'x'), "it is compressed; only plain archives are read"},
      {encode({{.name = "a"}}).substr(0, 60), "it ends inside a header"},
      {bad_digit, "a header field is no hexadecimal number"},
      {no_end, "a name has no end"},
      {encode({{.name = ""}}), "a name is empty"},
      {encode({{.name = "../up"}}), "a name contains \"..\""},
      {encode({{.name = "a/../../up"}, {.name = "a", .mode = 040755}}), "a name contains \"..\""},
      {encode({{.name = std::string(300, 'n')}}), "a name is too long"},
      {encode({{.name = std::string(5000, 'n')}}), "a name is empty or too long"},
      {encode({{.name = "f"}, {.name = "f/g"}}), "a file is used as a directory"},
      {encode({{.name = "l", .mode = 0120777, .contents = "/"}, {.name = "l/x"}}),
       "a file is used as a directory"},
      {encode({{.name = "d", .mode = 040755}, {.name = "d"}}),
       "a directory is named again as a file"},
      {encode({{.name = ".", .mode = 0100644}}), "the root is no directory"},
      {encode({{.name = "x", .mode = 0}}), "a file is of an unknown kind"},
      {encode({{.name = "x", .mode = 0170000}}), "a file is of an unknown kind"},
      {encode({{.name = "x", .mode = 040755, .contents = "y"}}),
       "something that is no file has contents"},
      {encode({{.name = "x", .mode = 0120777}}),
       "a symbolic link's target is empty, too long or no text"},
      {encode({{.name = "x", .mode = 0120777, .contents = std::string("a\0b", 3)}}),
       "a symbolic link's target is empty, too long or no text"},
      {encode({{.name = "x"}}) + "garbage", "it ends inside a header"},
  };
  for (const auto& test : cases) {
    EXPECT_EQ(unpack(test.archive), static_cast<int>(Errno::kEINVAL)) << test.problem;
    EXPECT_STREQ(report.problem, test.problem);
  }
}

TEST_F(InitramfsTest, SizesThatDoNotFitAreRefusedWithoutOverflow) {
  for (const std::size_t field : {6, 11}) {
    for (const char* value : {"FFFFFFFF", "80000000", "7FFFFFFF", "00001001"}) {
      std::string archive = encode({{.name = "x", .contents = "y"}});
      archive.replace(6 + field * 8, 8, value);
      EXPECT_EQ(unpack(archive), static_cast<int>(Errno::kEINVAL)) << field << " " << value;
    }
  }
}

TEST_F(InitramfsTest, OutOfMemoryIsReportedAndLeavesAWorkingTree) {
  const std::string archive = encode({{.name = "big", .contents = std::string(1 << 20, 'x')}});
  tree.arena.take_all_but(20);
  EXPECT_EQ(unpack(archive), static_cast<int>(Errno::kENOMEM));
  EXPECT_STREQ(report.problem, "there is not enough memory for it");
  tree.arena.give_back();
  EXPECT_EQ(tree.unlink("/big"), 0);
}

TEST_F(InitramfsTest, AlignedPagesAreAdoptedWhereTheyLie) {
  std::string contents(3 * kPageSize + 100, '\0');
  for (std::size_t i = 0; i < contents.size(); ++i) contents[i] = static_cast<char>(i / 7);
  // As the image builder does it: NULs behind the name, so that the contents start on a page.
  Member file{.name = "f", .contents = contents};
  file.name_padding = kPageSize - 112;
  const std::string archive = encode(std::vector<Member>{file});
  ASSERT_EQ(std::memcmp(archive.data() + kPageSize, contents.data(), contents.size()), 0);
  const std::size_t frames = align_up(archive.size(), kPageSize) / kPageSize;
  const PhysAddr first = frame_alloc_contiguous(frames, 1);
  ASSERT_FALSE(first.is_null());
  auto* bytes = phys_to_virt<std::byte>(first);
  std::memcpy(bytes, archive.data(), archive.size());
  std::vector<std::uint64_t> adopted;
  ASSERT_EQ(code_of(unpack_initramfs(
                {bytes, archive.size()}, *tree.context.root.dentry, ArchivePages::kAdopt, report,
                {.context = &adopted,
                 .note =
                     [](void* context, std::uint64_t offset) {
                       static_cast<std::vector<std::uint64_t>*>(context)->push_back(offset);
                     }})),
            0);
  EXPECT_EQ(adopted, (std::vector<std::uint64_t>{4096, 8192, 12288}));
  EXPECT_EQ(report.adopted_pages, 3u);
  EXPECT_EQ(report.copied_bytes, 100u);
  for (std::size_t i = 0; i < frames; ++i) {
    const bool kept = i >= 1 && i <= 3;
    if (!kept) frame_free(first + i * kPageSize);
  }
  EXPECT_EQ(tree.get("/f"), contents);
  const PhysAddr page =
      *(*tree.find("/f")).inode().page_cache()->get_page(1, PageCache::Missing::kZeroFrame);
  EXPECT_EQ(page, first + 2 * kPageSize);
  frame_release(frame_of(page));
}

}  // namespace
}  // namespace holstein::testing
