// A C++ program: exceptions thrown through many frames, iostream, and a gigabyte of which little is
// used. Prints the same on every system.
#include <algorithm>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

class Counted {
 public:
  Counted() { ++alive; }
  ~Counted() { --alive; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

  static int alive;
};
int Counted::alive = 0;

[[gnu::noinline]] int descend(int depth) {
  const Counted here;
  if (depth == 0) {
    throw std::out_of_range("the bottom");
  }
  return descend(depth - 1) + 1;
}

void exceptions() {
  int caught = 0;
  for (int depth = 0; depth < 200; ++depth) {
    try {
      descend(depth);
    } catch (const std::exception& error) {
      caught += std::string(error.what()) == "the bottom" ? 1 : 0;
    }
  }
  std::cout << "caught " << caught << ", left alive " << Counted::alive << '\n';
  try {
    try {
      throw 42;
    } catch (int value) {
      std::cout << "an int: " << value << '\n';
      throw std::runtime_error("from a handler");
    }
  } catch (const std::runtime_error& error) {
    std::cout << error.what() << '\n';
  }
  try {
    static_cast<void>(std::vector<int>(3).at(7));
  } catch (const std::out_of_range&) {
    std::cout << "vector::at refused\n";
  }
  try {
    static_cast<void>(::operator new(std::size_t{1} << 60));
  } catch (const std::bad_alloc&) {
    std::cout << "an exbibyte refused\n";
  }
}

void streams() {
  std::cout << std::hex << std::showbase << 255 << ' ' << std::dec << std::setw(8)
            << std::setfill('*') << 42 << ' ' << std::fixed << std::setprecision(3) << 3.14159265
            << ' ' << std::scientific << 1e-300 << std::defaultfloat << '\n';
  std::istringstream words("the cow jumped over the moon and the cow slept");
  std::map<std::string, int> counts;
  for (std::string word; words >> word;) {
    ++counts[word];
  }
  for (const auto& [word, count] : counts) {
    std::cout << word << ' ' << count << '\n';
  }
  std::uint64_t lines = 0;
  std::uint64_t sum = 0;
  for (std::string line; std::getline(std::cin, line); ++lines) {
    sum = std::accumulate(line.begin(), line.end(), sum);
  }
  std::cout << "read " << lines << " lines, sum " << sum << '\n';
}

void sparse_gigabyte() {
  constexpr std::size_t kBytes = std::size_t{1} << 30;
  const std::unique_ptr<unsigned char[]> memory(new unsigned char[kBytes]);
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at < kBytes; at += kBytes / 64) {
    memory[at] = static_cast<unsigned char>(at >> 24);
    memory[at + 4097] = 1;
  }
  memory[kBytes - 1] = 7;
  for (std::size_t at = 0; at < kBytes; at += kBytes / 64) {
    sum += memory[at] + memory[at + 4097] + memory[at + 12345];
  }
  std::cout << "a gigabyte, sparsely: " << sum + memory[kBytes - 1] << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  std::cout << argc - 1 << " arguments";
  for (int i = 1; i < argc; ++i) {
    std::cout << " [" << argv[i] << ']';
  }
  std::cout << '\n';
  exceptions();
  streams();
  sparse_gigabyte();
  std::cerr << "and a word on the other stream\n";
  return 17;
}
