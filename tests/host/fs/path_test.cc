// Where does a path lead? One tree, many paths.
#include <gtest/gtest.h>

#include "tests/host/fs/file_tree.h"

namespace holstein::testing {
namespace {

class PathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"/a", "/a/b", "/a/b/c", "/secret"}) ASSERT_EQ(tree.mkdir(name), 0);
    ASSERT_EQ(tree.put("/a/file", "x"), 0);
    ASSERT_EQ(tree.symlink("b/c", "/a/to_c"), 0);
    ASSERT_EQ(tree.symlink("/a/file", "/a/b/to_file"), 0);
    ASSERT_EQ(tree.symlink("loop2", "/loop1"), 0);
    ASSERT_EQ(tree.symlink("loop1", "/loop2"), 0);
    ASSERT_EQ(tree.symlink("nowhere", "/dangling"), 0);
    ASSERT_EQ(tree.symlink("../../../../a", "/a/b/c/up"), 0);
    ASSERT_EQ(tree.symlink("file/", "/a/slash_behind_file"), 0);
    ASSERT_EQ(code_of(vfs::change_mode(*tree.find("/secret"), 0, tree.context.credentials)), 0);
    ASSERT_EQ(tree.mkdir("/secret/inside"), 0);
  }

  std::string leads_to(const std::string& path, std::uint32_t flags = kResolveFollow) {
    const Result<Path> place = resolve(tree.context, nullptr, path, flags);
    return place.has_value() ? tree.text_of(*place) : errno_name(place.error());
  }

  FileTree tree;
};

TEST_F(PathTest, EveryKindOfPath) {
  const struct {
    const char* path;
    const char* place;
  } cases[] = {
      {"/", "/"},
      {"//", "/"},
      {"/.", "/"},
      {"/..", "/"},
      {"/../../..", "/"},
      {"", "ENOENT"},
      {"a", "/a"},
      {"./a//b///c/", "/a/b/c"},
      {"/a/b/../b/./c/..", "/a/b"},
      {"/a/../a/b/../../a/file", "/a/file"},
      {"/a/to_c", "/a/b/c"},
      {"/a/to_c/", "/a/b/c"},
      {"/a/to_c/..", "/a/b"},
      {"/a/b/to_file", "/a/file"},
      {"/a/b/to_file/", "ENOTDIR"},
      {"/a/b/c/up/file", "/a/file"},
      {"/a/file/", "ENOTDIR"},
      {"/a/file/..", "ENOTDIR"},
      {"/a/file/.", "ENOTDIR"},
      {"/a/file/x", "ENOTDIR"},
      {"/a/slash_behind_file", "ENOTDIR"},
      {"/nothing", "ENOENT"},
      {"/nothing/", "ENOENT"},
      {"/nothing/x", "ENOENT"},
      {"/dangling", "ENOENT"},
      {"/dangling/x", "ENOENT"},
      {"/loop1", "ELOOP"},
      {"/loop1/x", "ELOOP"},
  };
  for (const auto& test : cases) EXPECT_EQ(leads_to(test.path), test.place) << test.path;
}

TEST_F(PathTest, LinkAtTheEndIsFollowedOnlyWhereAskedFor) {
  EXPECT_EQ(leads_to("/a/to_c", 0), "/a/to_c");
  EXPECT_EQ(leads_to("/a/to_c/", 0), "/a/b/c");
  EXPECT_EQ(leads_to("/loop1", 0), "/loop1");
  EXPECT_EQ(leads_to("/a/b/to_file/", 0), "ENOTDIR");
}

TEST_F(PathTest, DirectoryIsRequired) {
  EXPECT_EQ(leads_to("/a/file", kResolveFollow | kResolveDirectory), "ENOTDIR");
  EXPECT_EQ(leads_to("/a/to_c", kResolveDirectory), "ENOTDIR");
  EXPECT_EQ(leads_to("/a/to_c", kResolveFollow | kResolveDirectory), "/a/b/c");
}

TEST_F(PathTest, EmptyPathMeansTheBase) {
  const Path base = *tree.find("/a/file");
  const Result<Path> place = resolve(tree.context, &base, "", kResolveEmpty);
  ASSERT_TRUE(place.has_value());
  EXPECT_TRUE(*place == base);
  EXPECT_EQ(code_of(resolve(tree.context, &base, "", 0)), static_cast<int>(Errno::kENOENT));
  EXPECT_EQ(code_of(resolve(tree.context, &base, "x", 0)), static_cast<int>(Errno::kENOTDIR));
}

TEST_F(PathTest, RelativeToABase) {
  const Path base = *tree.find("/a/b");
  EXPECT_EQ(tree.text_of(*resolve(tree.context, &base, "c", 0)), "/a/b/c");
  EXPECT_EQ(tree.text_of(*resolve(tree.context, &base, "../file", 0)), "/a/file");
  EXPECT_EQ(tree.text_of(*resolve(tree.context, &base, "/a/file", 0)), "/a/file");
}

TEST_F(PathTest, NamesAndPathsOfTheGreatestLength) {
  const std::string longest(255, 'n');
  EXPECT_EQ(tree.mkdir("/" + longest), 0);
  EXPECT_EQ(leads_to("/" + longest), "/" + longest);
  EXPECT_EQ(leads_to("/" + longest + "n"), "ENAMETOOLONG");
  EXPECT_EQ(leads_to("/" + longest + "n/x"), "ENAMETOOLONG");
  EXPECT_EQ(leads_to("/nothing/" + longest + "n"), "ENOENT");
  EXPECT_EQ(leads_to("/a/file/" + longest + "n"), "ENOTDIR");
  std::string dots;
  while (dots.size() < 4094) dots += "/.";
  EXPECT_EQ(leads_to(dots + "/"), "/");              // 4095 bytes
  EXPECT_EQ(leads_to(dots + "/."), "ENAMETOOLONG");  // 4096
}

TEST_F(PathTest, FortyLinksAndNotOneMore) {
  ASSERT_EQ(tree.symlink("a", "/chain0"), 0);
  for (int i = 1; i <= 40; ++i) {
    ASSERT_EQ(tree.symlink("chain" + std::to_string(i - 1), "/chain" + std::to_string(i)), 0);
  }
  EXPECT_EQ(leads_to("/chain39"), "/a");
  EXPECT_EQ(leads_to("/chain40"), "ELOOP");
}

TEST_F(PathTest, SearchPermissionOfEveryDirectoryOnTheWay) {
  PathContext user = tree.as_user(1000, 1000);
  EXPECT_EQ(code_of(resolve(user, nullptr, "/secret", 0)), 0);
  EXPECT_EQ(code_of(resolve(user, nullptr, "/secret/inside", 0)), static_cast<int>(Errno::kEACCES));
  EXPECT_EQ(code_of(resolve(user, nullptr, "/secret/..", 0)), static_cast<int>(Errno::kEACCES));
  EXPECT_EQ(code_of(resolve(user, nullptr, "/secret/nothing", 0)),
            static_cast<int>(Errno::kEACCES));
  EXPECT_EQ(leads_to("/secret/inside"), "/secret/inside");  // root passes
}

TEST_F(PathTest, DotDotStaysBelowTheRootOfTheProcess) {
  tree.context.root = *tree.find("/a");
  tree.context.cwd = tree.context.root;
  EXPECT_EQ(leads_to("/../../b"), "/b");
  EXPECT_EQ(leads_to("../../.."), "/");
  EXPECT_EQ(leads_to("/b/to_file"), "ENOENT");  // "/a/file" as seen from the new root
}

TEST_F(PathTest, MountsAreCrossedInBothDirections) {
  ASSERT_EQ(tree.put("/a/b/c/hidden", "x"), 0);
  Result<RefPtr<Mount>> other = make_tmpfs("tmpfs", {}, "other");
  ASSERT_TRUE(other.has_value());
  const RefPtr<Mount> mount = *other;
  ASSERT_TRUE(mount_table().attach(std::move(*other), *tree.find("/a/b/c")).has_value());
  EXPECT_EQ(leads_to("/a/b/c/hidden"), "ENOENT");
  EXPECT_EQ(tree.put("/a/b/c/seen", "y"), 0);
  EXPECT_EQ(leads_to("/a/b/c/seen"), "/a/b/c/seen");
  EXPECT_EQ(leads_to("/a/b/c/seen/"), "ENOTDIR");
  EXPECT_EQ(leads_to("/a/b/c/.."), "/a/b");
  EXPECT_EQ(leads_to("/a/b/c/../../file"), "/a/file");
  EXPECT_EQ(tree.stat("/a/b/c").inode, mount->root()->inode().number());
  EXPECT_EQ(tree.rmdir("/a/b/c"), static_cast<int>(Errno::kEBUSY));
  EXPECT_EQ(tree.rename("/a/b/c", "/a/b/d"), static_cast<int>(Errno::kEBUSY));
  EXPECT_EQ(tree.rename("/a/file", "/a/b/c/file"), static_cast<int>(Errno::kEXDEV));
  EXPECT_EQ(tree.link("/a/file", "/a/b/c/file"), static_cast<int>(Errno::kEXDEV));
  ASSERT_TRUE(mount_table().detach(*mount).has_value());
  EXPECT_EQ(leads_to("/a/b/c/hidden"), "/a/b/c/hidden");
}

TEST_F(PathTest, TextOfPlacesThatAreGoneOrOutside) {
  const Path gone = *tree.find("/a/b/c");
  ASSERT_EQ(tree.unlink("/a/b/c/up"), 0);
  ASSERT_EQ(tree.rmdir("/a/b/c"), 0);
  EXPECT_EQ(tree.text_of(gone), "/a/b/c (deleted)");
  const Path outside = *tree.find("/secret");
  tree.context.root = *tree.find("/a");
  EXPECT_EQ(tree.text_of(outside), "(unreachable)/secret");
  EXPECT_FALSE(is_reachable(outside, tree.context.root));
}

TEST_F(PathTest, AChainOfRemovedDirectoriesOfAnyLengthIsTakenApart) {
  // Each directory is entered and then removed from above: only the innermost one holds the rest.
  constexpr int kDepth = 200000;
  Path at = tree.context.root;
  std::vector<Path> all;
  for (int i = 0; i < kDepth; ++i) {
    ASSERT_EQ(code_of(vfs::make_directory(tree.context, &at, "d", 0777)), 0);
    all.push_back(at);
    at = *resolve(tree.context, &at, "d", 0);
  }
  while (!all.empty()) {
    ASSERT_EQ(code_of(vfs::remove_directory(tree.context, &all.back(), "d")), 0);
    all.pop_back();
  }
  at = {};
}

}  // namespace
}  // namespace holstein::testing
