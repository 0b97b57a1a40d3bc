// Memory for tests: mappings that go away by themselves, patterns, and what a fault looked like.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace holstein::guest {

inline constexpr std::size_t kPage = 4096;
inline constexpr std::size_t kMiB = std::size_t{1} << 20;
inline constexpr std::size_t kTable = 2 * kMiB;  // what one table of the lowest level maps
inline constexpr std::size_t kGiB = std::size_t{1} << 30;

// An anonymous mapping of `bytes`. Unmapped at the end, whatever a test did to it meanwhile.
class Mapping {
 public:
  explicit Mapping(std::size_t bytes, int protection = PROT_READ | PROT_WRITE,
                   int flags = MAP_PRIVATE | MAP_ANONYMOUS, int descriptor = -1);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  unsigned char* data() const { return data_; }
  unsigned char* page(std::size_t index) const { return data_ + index * kPage; }
  unsigned char& operator[](std::size_t offset) const { return data_[offset]; }
  std::size_t size() const { return bytes_; }

 private:
  unsigned char* data_;
  std::size_t bytes_;
};

// Addresses without access, `bytes` from a multiple of `alignment` on, for MAP_FIXED and mprotect.
class Reservation {
 public:
  Reservation(std::size_t bytes, std::size_t alignment);
  ~Reservation();
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  unsigned char* data() const { return data_; }

 private:
  unsigned char* all_;
  std::size_t all_bytes_;
  unsigned char* data_;
};

// One object that all processes share that are forked after it was made.
template <class T>
class Shared {
 public:
  Shared() : mapping_(sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS) {}
  T& operator*() const { return *get(); }
  T* operator->() const { return get(); }
  T* get() const { return reinterpret_cast<T*>(mapping_.data()); }

 private:
  Mapping mapping_;
};

// `pages` pages after which nothing is mapped: what reads one byte too many faults.
class EdgeMapping {
 public:
  explicit EdgeMapping(std::size_t pages = 1);

  unsigned char* begin() const { return mapping_.data(); }
  unsigned char* end() const { return mapping_.data() + mapping_.size() - kPage; }

 private:
  Mapping mapping_;
};

// Fills with bytes that depend on `seed` and the offset, so that pages differ from each other.
void fill(void* to, std::size_t bytes, unsigned seed);
// True if the bytes are what `fill` left there.
bool is_filled(const void* from, std::size_t bytes, unsigned seed);
bool is_all(const void* from, std::size_t bytes, unsigned char value);

// The signal that some code raised; number 0 for none.
struct Fault {
  int signal = 0;
  int code = 0;
  void* address = nullptr;
  std::uint64_t error_code = 0;   // of the CPU
  std::uint64_t trap_number = 0;  // of the CPU
};

// Runs `body` until it ends or faults (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP).
Fault fault_of(const std::function<void()>& body);

unsigned char read_byte(const void* from);
void write_byte(void* to, unsigned char value);

}  // namespace holstein::guest
