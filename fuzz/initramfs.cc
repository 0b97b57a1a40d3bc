// Archives as the loader checks them and the kernel unpacks them, with allocations that fail; what
// was unpacked must be a tree that can be walked, read and removed.
#include "efi_loader/initramfs.h"

#include "fs/initramfs.h"
#include "fuzz/input.h"
#include "tests/host/fs/file_tree.h"

namespace holstein::fuzz {
namespace {

// Visits what is there, without end only if the tree is broken.
void walk(testing::FileTree& tree, const std::string& folder, int depth, int& budget) {
  if (depth == 0 || budget-- <= 0) {
    return;
  }
  for (const std::string& name : tree.list(folder.empty() ? "/" : folder)) {
    if (name == "." || name == ".." || budget-- <= 0) {
      continue;
    }
    const std::string path = folder + "/" + name;
    const Attributes attributes = tree.stat(path);
    if (attributes.type == FileType::kDirectory) {
      walk(tree, path, depth - 1, budget);
    } else if (attributes.type == FileType::kRegular) {
      FUZZ_CHECK(attributes.links >= 1);
      // A size may be large and all hole; the first bytes tell.
      const Result<RefPtr<File>> file = tree.open(path, kOpenReadOnly);
      if (file) {
        (void)testing::FileTree::read_some(**file, 100);
      }
    }
  }
}

void run(Input& input) {
  const std::uint64_t fail_nth = input.byte();
  testing::FileTree tree(16);
  const std::span<const std::uint8_t> archive = input.rest();
  InitramfsReport report;
  allocation_fail_nth(fail_nth, false);
  const Result<void> unpacked = unpack_initramfs(std::as_bytes(archive), *tree.context.root.dentry,
                                                 ArchivePages::kCopy, report);
  allocation_fail_nth(0, false);
  const auto entries = loader::check_cpio(archive);
  if (unpacked) {
    // What the kernel takes, the loader has let through.
    FUZZ_CHECK(entries.has_value());
  } else {
    FUZZ_CHECK(unpacked.error() == Errno::kENOMEM || report.problem != nullptr);
    FUZZ_CHECK(report.problem_offset <= archive.size());
  }
  int budget = 300;
  walk(tree, "", 20, budget);
}

}  // namespace
}  // namespace holstein::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  holstein::fuzz::Input input(data, bytes);
  holstein::fuzz::run(input);
  return 0;
}
