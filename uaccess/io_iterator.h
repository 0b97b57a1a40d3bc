// Where the bytes of a read or write come from and go to: user memory in one or several segments,
// or one kernel buffer. A file system is written once against these and serves read(), readv(),
// sendfile(), exec and the page cache alike.
//
//   IoSource  bytes leave it: the argument of write()
//   IoSink    bytes go into it: the buffer of read()
//
// Both advance as they are used. They do not own the memory: segments and buffer outlive them.
#pragma once

#include <cstddef>
#include <span>

#include "uaccess/user_ptr.h"

namespace holstein {
namespace io {

// The unread rest of a list of segments, or of a kernel buffer.
template <Direction D, class KernelByte>
class Position {
 public:
  using Segment = UserSpan<std::byte, D>;

  Position() = default;
  explicit Position(Segment segment) : current_(segment), remaining_(segment.size_bytes()) {}
  explicit Position(std::span<const Segment> segments);
  explicit Position(std::span<KernelByte> kernel)
      : kernel_(kernel), is_kernel_(true), remaining_(kernel.size()) {}

  std::size_t remaining() const { return remaining_; }
  bool is_kernel() const { return is_kernel_; }

  // The next piece that lies in one run, of at most `most` bytes: empty only at the end.
  Segment user_piece(std::size_t most);
  std::span<KernelByte> kernel_piece(std::size_t most) const {
    return kernel_.first(most < kernel_.size() ? most : kernel_.size());
  }

  // Goes on by `bytes`, which lie within the last piece.
  void advance(std::size_t bytes);

 private:
  Segment current_;                 // what is left of the segment in use
  std::span<const Segment> later_;  // those after it
  std::span<KernelByte> kernel_;    // what is left of the buffer
  bool is_kernel_ = false;
  std::size_t remaining_ = 0;  // bytes; SIZE_MAX where the sum of the segments does not fit
};

extern template class Position<Direction::kOut, std::byte>;
extern template class Position<Direction::kIn, const std::byte>;

}  // namespace io

class IoSink {
 public:
  // Holds nothing: remaining() is 0.
  IoSink() = default;

  static IoSink to_user(UserBytesOut buffer) { return IoSink(Position(buffer)); }
  static IoSink to_user(std::span<const UserBytesOut> segments) {
    return IoSink(Position(segments));
  }
  static IoSink to_kernel(std::span<std::byte> buffer) { return IoSink(Position(buffer)); }

  // Bytes that still fit.
  std::size_t remaining() const { return position_.remaining(); }

  // Puts bytes of `data` in, in order, and advances past them. Returns how many: fewer than asked
  // only where nothing more fits or user memory faulted. May sleep where it goes to user memory.
  [[nodiscard]] std::size_t write(std::span<const std::byte> data);

  // The same with `bytes` zeros.
  [[nodiscard]] std::size_t fill_zero(std::size_t bytes);

  // User memory faulted; nothing more goes in. The caller reports what was done before, or EFAULT
  // where that is nothing.
  bool faulted() const { return faulted_; }

 private:
  using Position = io::Position<Direction::kOut, std::byte>;
  explicit IoSink(const Position& position) : position_(position) {}

  Position position_;
  bool faulted_ = false;
};

class IoSource {
 public:
  // Holds nothing: remaining() is 0.
  IoSource() = default;

  static IoSource from_user(UserBytesIn buffer) { return IoSource(Position(buffer)); }
  static IoSource from_user(std::span<const UserBytesIn> segments) {
    return IoSource(Position(segments));
  }
  static IoSource from_kernel(std::span<const std::byte> buffer) {
    return IoSource(Position(buffer));
  }

  // Bytes that are still there.
  std::size_t remaining() const { return position_.remaining(); }

  // Takes the next bytes out into `to` and advances past them. Returns how many: fewer than asked
  // only where nothing more is there or user memory faulted; then the rest of `to` is zero.
  [[nodiscard]] std::size_t read(std::span<std::byte> to);
  // The same, but the rest of `to` stays as it was: for data that is somebody's already, like a
  // page of a file.
  [[nodiscard]] std::size_t read_over(std::span<std::byte> to);

  // User memory faulted; nothing more comes out.
  bool faulted() const { return faulted_; }

 private:
  using Position = io::Position<Direction::kIn, const std::byte>;
  explicit IoSource(const Position& position) : position_(position) {}

  Position position_;
  bool faulted_ = false;
};

}  // namespace holstein
