// The walk over segments.
#include "uaccess/io_iterator.h"

#include <algorithm>
#include <cstring>

#include "lib/panic.h"

namespace holstein {
namespace io {

template <Direction D, class KernelByte>
Position<D, KernelByte>::Position(std::span<const Segment> segments) : later_(segments) {
  for (const Segment& segment : segments) {
    if (__builtin_add_overflow(remaining_, segment.size_bytes(), &remaining_)) {
      remaining_ = SIZE_MAX;
      return;
    }
  }
}

template <Direction D, class KernelByte>
typename Position<D, KernelByte>::Segment Position<D, KernelByte>::user_piece(std::size_t most) {
  while (current_.empty() && !later_.empty()) {
    current_ = later_.front();
    later_ = later_.subspan(1);
  }
  return current_.first(std::min(most, current_.size()));
}

template <Direction D, class KernelByte>
void Position<D, KernelByte>::advance(std::size_t bytes) {
  HOLSTEIN_ASSERT(bytes <= remaining_);
  if (is_kernel_) {
    kernel_ = kernel_.subspan(bytes);
  } else {
    current_ = current_.subspan(bytes);
  }
  remaining_ -= bytes;
}

template class Position<Direction::kOut, std::byte>;
template class Position<Direction::kIn, const std::byte>;

}  // namespace io

std::size_t IoSink::write(std::span<const std::byte> data) {
  if (faulted_ || data.empty()) return 0;
  if (position_.is_kernel()) {
    const std::span<std::byte> piece = position_.kernel_piece(data.size());
    if (!piece.empty()) std::memcpy(piece.data(), data.data(), piece.size());
    position_.advance(piece.size());
    return piece.size();
  }
  std::size_t done = 0;
  while (done < data.size()) {
    const UserBytesOut piece = position_.user_piece(data.size() - done);
    if (piece.empty()) break;
    const std::size_t copied = piece.copy_out_partial(data.subspan(done, piece.size()));
    position_.advance(copied);
    done += copied;
    if (copied < piece.size()) {
      faulted_ = true;
      break;
    }
  }
  return done;
}

std::size_t IoSink::fill_zero(std::size_t bytes) {
  if (faulted_ || bytes == 0) return 0;
  if (position_.is_kernel()) {
    const std::span<std::byte> piece = position_.kernel_piece(bytes);
    if (!piece.empty()) std::memset(piece.data(), 0, piece.size());
    position_.advance(piece.size());
    return piece.size();
  }
  std::size_t done = 0;
  while (done < bytes) {
    const UserBytesOut piece = position_.user_piece(bytes - done);
    if (piece.empty()) break;
    const std::size_t cleared = piece.clear_partial();
    position_.advance(cleared);
    done += cleared;
    if (cleared < piece.size()) {
      faulted_ = true;
      break;
    }
  }
  return done;
}

std::size_t IoSource::read(std::span<std::byte> to) {
  const std::size_t done = read_over(to);
  if (done < to.size()) std::memset(to.data() + done, 0, to.size() - done);
  return done;
}

std::size_t IoSource::read_over(std::span<std::byte> to) {
  std::size_t done = 0;
  if (!faulted_ && position_.is_kernel()) {
    const std::span<const std::byte> piece = position_.kernel_piece(to.size());
    if (!piece.empty()) std::memcpy(to.data(), piece.data(), piece.size());
    position_.advance(piece.size());
    done = piece.size();
  } else if (!faulted_) {
    while (done < to.size()) {
      const UserBytesIn piece = position_.user_piece(to.size() - done);
      if (piece.empty()) break;
      const std::size_t copied = piece.copy_in_over(to.subspan(done, piece.size()));
      position_.advance(copied);
      done += copied;
      if (copied < piece.size()) {
        faulted_ = true;
        break;
      }
    }
  }
  return done;
}

}  // namespace holstein
