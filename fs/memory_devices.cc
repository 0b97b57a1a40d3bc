// The devices of major 1: null, zero, full, random, urandom, kmsg.
#include <algorithm>
#include <new>

#include "fs/device.h"
#include "fs/poll.h"
#include "fs/process_view.h"
#include "fs/throttle.h"
#include "lib/log.h"
#include "lib/random.h"
#include "uaccess/io_iterator.h"

namespace holstein {
namespace {

constexpr std::uint32_t kMemoryMajor = 1;
constexpr std::uint32_t kNullMinor = 3, kZeroMinor = 5, kFullMinor = 7, kRandomMinor = 8,
                        kUrandomMinor = 9, kKmsgMinor = 11;

// Reads whatever is written, and forgets it. EFAULT where nothing of it was readable is not
// reported: Linux's null device does not look either.
std::size_t swallow(IoSource& from) { return from.remaining(); }

class MemoryFile final : public File {
 public:
  MemoryFile(const Path& path, std::uint32_t flags, std::uint32_t minor)
      : File(path, flags), minor_(minor) {}

  // Anonymous memory: /dev/zero's old use.
  Result<FileMapping> map() override {
    if (minor_ != kZeroMinor) return fail(Errno::kENODEV);
    return FileMapping{};
  }

 protected:
  Result<std::size_t> do_read(IoSink& to, std::uint64_t&) override {
    switch (minor_) {
      case kNullMinor:
        return std::size_t{0};
      case kZeroMinor:
      case kFullMinor:
        return read_zeros(to);
      default:
        return read_random(to);
    }
  }

  Result<std::size_t> do_write(IoSource& from, std::uint64_t&) override {
    switch (minor_) {
      case kNullMinor:
      case kZeroMinor:
        return swallow(from);
      case kFullMinor:
        return fail(Errno::kENOSPC);
      default:
        return add_entropy(from);
    }
  }

  // Offsets mean nothing here: every one is where the program already is.
  Result<std::int64_t> do_seek(std::int64_t offset, Whence whence,
                               std::uint64_t position) override {
    if (whence == Whence::kData || whence == Whence::kHole) return fail(Errno::kEINVAL);
    if (minor_ == kNullMinor || minor_ == kZeroMinor || minor_ == kFullMinor) return 0;
    return File::do_seek(offset, whence, position);
  }

 private:
  static Result<std::size_t> read_zeros(IoSink& to) {
    constexpr std::size_t kStep = 8 * kPageSize;
    std::size_t done = 0;
    Throttle throttle;
    while (to.remaining() > 0) {
      const std::size_t size = std::min(to.remaining(), kStep);
      const std::size_t moved = to.fill_zero(size);
      done += moved;
      if (moved < size || throttle.should_stop()) break;
    }
    if (done == 0 && to.faulted()) return fail(Errno::kEFAULT);
    return done;
  }

  static Result<std::size_t> read_random(IoSink& to) {
    std::byte bytes[256];
    std::size_t done = 0;
    Throttle throttle;
    while (to.remaining() > 0) {
      const std::size_t size = std::min(to.remaining(), sizeof(bytes));
      random_bytes({bytes, size});
      const std::size_t moved = to.write({bytes, size});
      done += moved;
      if (moved < size || throttle.should_stop()) break;
    }
    if (done == 0 && to.faulted()) return fail(Errno::kEFAULT);
    return done;
  }

  static Result<std::size_t> add_entropy(IoSource& from) {
    std::byte bytes[256];
    std::size_t done = 0;
    Throttle throttle;
    while (from.remaining() > 0) {
      const std::size_t size = std::min(from.remaining(), sizeof(bytes));
      const std::size_t moved = from.read({bytes, size});
      random_add_entropy({bytes, moved});
      done += moved;
      if (moved < size || throttle.should_stop()) break;
    }
    if (done == 0 && from.faulted()) return fail(Errno::kEFAULT);
    return done;
  }

  const std::uint32_t minor_;
};

// The kernel's log: reads give it, writes add a line.
class KmsgFile final : public File {
 public:
  using File::File;
  std::uint32_t poll(std::uint32_t, PollTable*) override {
    return kPollIn | kPollReadNormal | kPollOut | kPollWriteNormal;
  }

 protected:
  Result<std::size_t> do_read(IoSink& to, std::uint64_t& position) override {
    char text[512];
    std::size_t done = 0;
    while (to.remaining() > 0) {
      std::uint64_t next = position;
      const std::size_t size = port::read_kernel_log(next, text);
      if (size == 0) break;
      const std::size_t wanted = std::min(size, to.remaining());
      const std::size_t moved = to.write(std::as_bytes(std::span(text, wanted)));
      done += moved;
      // `next` may have jumped over lines that the ring lost.
      position = next - (size - moved);
      if (moved < size) break;
    }
    if (done == 0 && to.faulted()) return fail(Errno::kEFAULT);
    if (done == 0 && is_nonblocking()) return fail(Errno::kEAGAIN);
    return done;
  }

  Result<std::size_t> do_write(IoSource& from, std::uint64_t&) override {
    constexpr std::size_t kLongestLine = 976;
    if (from.remaining() > kLongestLine) return fail(Errno::kEINVAL);
    char text[kLongestLine];
    const std::size_t size = from.read(
        std::as_writable_bytes(std::span(text)).first(std::min(from.remaining(), sizeof(text))));
    if (from.faulted()) return fail(Errno::kEFAULT);
    std::string_view line(text, size);
    while (!line.empty() && (line.back() == '\n' || line.back() == '\0')) line.remove_suffix(1);
    log(LogLevel::kNotice, "%.*s", static_cast<int>(line.size()), line.data());
    return size;
  }

  Result<std::int64_t> do_seek(std::int64_t offset, Whence whence,
                               std::uint64_t position) override {
    if (whence == Whence::kSet && offset == 0) return 0;
    if (whence != Whence::kEnd || offset != 0) return fail(Errno::kEINVAL);
    char skipped[512];
    while (port::read_kernel_log(position, skipped) != 0) {
    }
    return static_cast<std::int64_t>(position);
  }
};

class MemoryDevices final : public CharacterDevice {
 public:
  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags, std::uint64_t device) override {
    const std::uint32_t minor = device_minor(device);
    File* made = nullptr;
    switch (minor) {
      case kNullMinor:
      case kZeroMinor:
      case kFullMinor:
      case kRandomMinor:
      case kUrandomMinor:
        made = new (std::nothrow) MemoryFile(path, flags, minor);
        break;
      case kKmsgMinor:
        made = new (std::nothrow) KmsgFile(path, flags);
        break;
      default:
        return fail(Errno::kENXIO);
    }
    if (made == nullptr) return fail(Errno::kENOMEM);
    return RefPtr<File>::adopt(made);
  }
};

constinit MemoryDevices memory_devices;

}  // namespace

Result<void> register_memory_devices() {
  constexpr std::uint32_t kMinors = 16;
  return register_character_device(kMemoryMajor, 0, kMinors, memory_devices);
}

}  // namespace holstein
