// Runs files and folders of files through a harness, without libFuzzer: the corpus as a test, and
// one input that failed under a debugger.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include "fuzz/input.h"

namespace {

namespace fs = std::filesystem;

int run_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file) {
    std::fprintf(stderr, "%s: cannot be read\n", path.c_str());
    return 1;
  }
  std::fprintf(stderr, "%s: %zu bytes\n", path.c_str(), bytes.size());
  // A block of exactly this size, so that AddressSanitizer sees the first byte too many.
  const std::unique_ptr<std::uint8_t[]> data(new std::uint8_t[bytes.size()]);
  std::ranges::copy(bytes, data.get());
  LLVMFuzzerTestOneInput(data.get(), bytes.size());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  int failures = 0;
  int files = 0;
  for (int i = 1; i < argc; ++i) {
    std::vector<fs::path> paths;
    if (fs::is_directory(argv[i])) {
      for (const fs::directory_entry& entry : fs::directory_iterator(argv[i])) {
        paths.push_back(entry.path());
      }
    } else {
      paths.emplace_back(argv[i]);
    }
    std::ranges::sort(paths);
    for (const fs::path& path : paths) {
      failures += run_file(path);
      ++files;
    }
  }
  std::fprintf(stderr, "%d files\n", files);
  return files == 0 || failures != 0 ? 1 : 0;
}
