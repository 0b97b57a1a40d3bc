// Operations on names in a small tree: paths of every shape, links that go round, renames across
// folders, allocations that fail. The tree stays a tree, and everything is given back at its end.
#include "fuzz/input.h"
#include "tests/host/fs/file_tree.h"

namespace holstein::fuzz {
namespace {

// A path of a few components that are likely to exist, with what separates and surrounds them, or a
// few bytes of the input as they are.
std::string choose_path(Input& input) {
  if (input.byte() % 8 == 0) {
    std::string text = input.text(input.below(40));
    std::erase(text, '\0');
    return text;
  }
  constexpr const char* kParts[] = {"a", "b", "c", "link", "..", ".", "", "a/b", "/", "//", "x/.."};
  std::string path;
  const std::size_t parts = 1 + input.below(5);
  for (std::size_t i = 0; i < parts; ++i) {
    path += kParts[input.below(std::size(kParts))];
    path += (input.byte() & 7) != 0 ? "/" : "";
  }
  if ((input.byte() & 1) != 0 && path.ends_with('/')) {
    path.pop_back();
  }
  if (input.byte() == 7) {
    path += std::string(input.below(5000), 'n');
  }
  return path;
}

// Every directory is reached by one way, and the links that a file counts are at least those that
// were found.
void check_tree(testing::FileTree& tree, const std::string& folder, int depth, int& budget) {
  FUZZ_CHECK(depth != 0);
  for (const std::string& name : tree.list(folder.empty() ? "/" : folder)) {
    if (name == "." || name == ".." || budget-- <= 0) {
      continue;
    }
    FUZZ_CHECK(!name.empty() && name.find('/') == std::string::npos && name.size() <= 255);
    const std::string path = folder + "/" + name;
    const Result<Path> place = tree.find(path, false);
    FUZZ_CHECK(place.has_value());
    FUZZ_CHECK(tree.text_of(*place) == path);
    if (tree.stat(path).type == FileType::kDirectory) {
      check_tree(tree, path, depth - 1, budget);
    }
  }
}

void step(testing::FileTree& tree, Input& input) {
  const std::string first = choose_path(input);
  switch (input.byte() % 12) {
    case 0:
      (void)tree.mkdir(first, input.take<std::uint16_t>() & 07777);
      break;
    case 1:
      (void)tree.put(first, input.text(input.below(40)));
      break;
    case 2:
      (void)tree.unlink(first);
      break;
    case 3:
      (void)tree.rmdir(first);
      break;
    case 4:
      (void)tree.symlink(choose_path(input), first);
      break;
    case 5:
      (void)tree.link(first, choose_path(input));
      break;
    case 6:
    case 7:
      (void)tree.rename(first, choose_path(input), input.byte() % 4);
      break;
    case 8:
      (void)tree.open(first, input.take<std::uint32_t>() & 0x7fffff, 0644);
      break;
    case 9: {
      const Result<Path> place = tree.find(first, (input.byte() & 1) != 0);
      if (place && vfs::stat(*place).type == FileType::kDirectory) {
        tree.context.cwd = *place;
      }
      break;
    }
    case 10: {
      const PathContext other = tree.as_user(input.byte() % 3, 5);
      (void)resolve(other, nullptr, first, input.byte() % 8);
      break;
    }
    default:
      (void)tree.stat(first, (input.byte() & 1) != 0);
  }
}

void run(Input& input) {
  testing::FileTree tree(8);
  for (int steps = 0; steps < 60 && !input.empty(); ++steps) {
    const std::uint8_t fail_nth = input.byte();
    allocation_fail_nth(fail_nth < 40 ? fail_nth : 0, false);
    step(tree, input);
    allocation_fail_nth(0, false);
  }
  int budget = 500;
  check_tree(tree, "", 100, budget);
}

}  // namespace
}  // namespace holstein::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  holstein::fuzz::Input input(data, bytes);
  holstein::fuzz::run(input);
  return 0;
}
