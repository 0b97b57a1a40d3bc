// /dev/host: the standard streams of the `holstein` command on the host, which look like the ends
// of pipes to programs, and `control`, by which init reports how the program ended.
#include <algorithm>
#include <new>

#include "fs/devfs.h"
#include "fs/file.h"
#include "fs/host_channel.h"
#include "fs/host_streams.h"
#include "fs/poll.h"
#include "fs/termios.h"
#include "fs/throttle.h"
#include "fs/tmpfs.h"
#include "lib/mutex.h"
#include "uaccess/io_iterator.h"
#include "uaccess/user_ptr.h"
#include "vm/frame.h"

namespace holstein {
namespace {

constinit std::atomic<StdinUser> stdin_user = StdinUser::kNobody;

// A page for the time of one call, between the channel and user memory; where memory is out, a few
// bytes, so that what is to be said of that comes out.
class BouncePage {
 public:
  BouncePage() : frame_(frame_alloc()) {}
  ~BouncePage() {
    if (!frame_.is_null()) frame_free(frame_);
  }
  BouncePage(const BouncePage&) = delete;
  BouncePage& operator=(const BouncePage&) = delete;
  std::span<std::byte> bytes() {
    if (frame_.is_null()) return few_;
    return {phys_to_virt<std::byte>(frame_), kPageSize};
  }

 private:
  const PhysAddr frame_;
  std::byte few_[256];
};

// What came from the host and no program took yet: bytes that a read fetched from the channel and
// could not deliver are kept for the next one. Lock: kPipe, held while bytes are copied.
class HostInput {
 public:
  Result<std::size_t> read(IoSink& to) EXCLUDES(lock_) {
    MutexGuard guard(lock_);
    if (begin_ == end_) {
      TRY_ASSIGN(const std::size_t got, port::channel_read(bytes_));
      begin_ = 0;
      end_ = got;
      kept_.store(got, std::memory_order_release);
      if (got == 0) return std::size_t{0};
    }
    const std::size_t size = std::min(to.remaining(), end_ - begin_);
    const std::size_t moved = to.write(std::span(bytes_).subspan(begin_, size));
    begin_ += moved;
    kept_.store(end_ - begin_, std::memory_order_release);
    if (moved == 0 && to.faulted()) return fail(Errno::kEFAULT);
    return moved;
  }
  // Bytes that are there, and whether a read would not have to wait.
  std::size_t available() const {
    return kept_.load(std::memory_order_acquire) + port::channel_readable_bytes();
  }
  bool is_ready() const {
    return kept_.load(std::memory_order_acquire) != 0 || port::channel_can_read();
  }

 private:
  Mutex lock_{LockRank::kPipe};
  std::size_t begin_ GUARDED_BY(lock_) = 0;
  std::size_t end_ GUARDED_BY(lock_) = 0;
  std::byte bytes_[16384] GUARDED_BY(lock_) = {};
  std::atomic<std::size_t> kept_ = 0;
};
constinit HostInput host_input;

class HostStreamFile : public File {
 public:
  using File::File;
  bool is_seekable() const override { return false; }
};

class StdinFile final : public HostStreamFile {
 public:
  using HostStreamFile::HostStreamFile;

  std::uint32_t poll(std::uint32_t, PollTable* table) override {
    if (table != nullptr) table->add(port::channel_read_queue());
    if (!host_input.is_ready()) return 0;
    // Ready without a byte: the end.
    return host_input.available() != 0 ? kPollIn | kPollReadNormal : kPollHangUp;
  }
  Result<std::int64_t> ioctl(std::uint32_t command, std::uint64_t argument) override {
    if (command != kFionread) return fail(Errno::kENOTTY);
    TRY(UserOut<std::int32_t>::from_register(argument).put(
        static_cast<std::int32_t>(host_input.available())));
    return 0;
  }

 protected:
  Result<std::size_t> do_read(IoSink& to, std::uint64_t&) override {
    if (to.remaining() == 0) return std::size_t{0};
    while (true) {
      const Result<std::size_t> done = host_input.read(to);
      if (done.has_value() || done.error() != Errno::kEAGAIN) return done;
      if (is_nonblocking()) return fail(Errno::kEAGAIN);
      const Result<void> waited = port::channel_read_queue().wait(
          Sleep::kInterruptible, [] { return host_input.is_ready(); });
      if (!waited.has_value()) return fail(Errno::kERESTARTSYS);
    }
  }
};

class OutputFile final : public HostStreamFile {
 public:
  OutputFile(const Path& path, std::uint32_t flags, ChannelStream stream)
      : HostStreamFile(path, flags), stream_(stream) {}

  std::uint32_t poll(std::uint32_t, PollTable* table) override {
    if (table != nullptr) table->add(port::channel_write_queue(stream_));
    if (port::channel_is_broken(stream_)) return kPollError | kPollOut | kPollWriteNormal;
    return port::channel_can_write(stream_) ? kPollOut | kPollWriteNormal : 0;
  }

 protected:
  Result<std::size_t> do_write(IoSource& from, std::uint64_t&) override {
    if (from.remaining() == 0) return std::size_t{0};
    BouncePage page;
    const std::span<std::byte> buffer = page.bytes();
    std::size_t done = 0;
    Throttle throttle;
    while (from.remaining() > 0) {
      // The channel may take less than was fetched: then the rest is fetched again.
      const IoSource before = from;
      const std::size_t size =
          from.read(buffer.first(std::min<std::size_t>(from.remaining(), buffer.size())));
      if (size == 0) break;
      const Result<std::size_t> sent = port::channel_write(stream_, buffer.first(size));
      const std::size_t taken = sent.value_or(0);
      if (taken < size) {
        from = before;
        (void)from.read(buffer.first(taken));
      }
      done += taken;
      if (taken == size) {
        if (throttle.should_stop()) return done;
        continue;
      }
      Errno error = sent.has_value() ? Errno::kEAGAIN : sent.error();
      if (error == Errno::kEAGAIN && !is_nonblocking()) {
        const Result<void> waited = port::channel_write_queue(stream_).wait(
            Sleep::kInterruptible, [this] { return port::channel_can_write(stream_); });
        if (waited.has_value()) continue;
        error = Errno::kERESTARTSYS;
      }
      if (done > 0) return done;
      return fail(error);
    }
    if (done == 0 && from.faulted()) return fail(Errno::kEFAULT);
    return done;
  }

 private:
  const ChannelStream stream_;
};

// A number in decimal at the front of `text`, taken off. False where there is none.
bool take_number(std::string_view& text, std::uint32_t& value) {
  std::uint64_t result = 0;
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    result = result * 10 + static_cast<std::uint64_t>(text[digits] - '0');
    if (result > UINT32_MAX) return false;
    ++digits;
  }
  text.remove_prefix(digits);
  value = static_cast<std::uint32_t>(result);
  return digits != 0;
}

// One command a write: "exit <wait status>\n" or "error <errno> <text>\n".
class ControlFile final : public HostStreamFile {
 public:
  using HostStreamFile::HostStreamFile;

 protected:
  Result<std::size_t> do_write(IoSource& from, std::uint64_t&) override {
    constexpr std::size_t kLongestCommand = 1024;
    char text[kLongestCommand];
    if (from.remaining() > sizeof(text)) return fail(Errno::kEINVAL);
    const std::size_t size =
        from.read(std::as_writable_bytes(std::span(text)).first(from.remaining()));
    if (from.faulted()) return fail(Errno::kEFAULT);
    TRY(execute({text, size}));
    return size;
  }

 private:
  static Result<void> execute(std::string_view command) {
    constexpr std::string_view kExit = "exit ";
    constexpr std::string_view kError = "error ";
    if (command.ends_with('\n')) command.remove_suffix(1);
    std::uint32_t number = 0;
    if (command.starts_with(kExit)) {
      command.remove_prefix(kExit.size());
      if (!take_number(command, number) || !command.empty()) return fail(Errno::kEINVAL);
      port::channel_send_exit_status(number);
      return {};
    }
    if (command.starts_with(kError)) {
      command.remove_prefix(kError.size());
      if (!take_number(command, number) || !command.starts_with(' ')) {
        return fail(Errno::kEINVAL);
      }
      port::channel_send_status_error(static_cast<Errno>(number), command.substr(1));
      return {};
    }
    return fail(Errno::kEINVAL);
  }
};

enum class HostNode : std::uint8_t { kStdin, kStdout, kStderr, kControl };

class HostInode final : public Inode {
 public:
  HostInode(Superblock& superblock, HostNode node)
      : Inode(superblock, FileType::kFifo, superblock.next_inode_number()), node_(node) {}

  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags, const Credentials&) override {
    const std::uint32_t mode = flags & kOpenAccessMode;
    File* made = nullptr;
    switch (node_) {
      case HostNode::kStdin:
        if (mode != kOpenReadOnly) return fail(Errno::kEACCES);
        TRY(claim_host_stdin(StdinUser::kStream));
        made = new (std::nothrow) StdinFile(path, flags);
        break;
      case HostNode::kStdout:
      case HostNode::kStderr:
        if (mode != kOpenWriteOnly) return fail(Errno::kEACCES);
        made = new (std::nothrow) OutputFile(
            path, flags,
            node_ == HostNode::kStdout ? ChannelStream::kStdout : ChannelStream::kStderr);
        break;
      case HostNode::kControl:
        if (mode != kOpenWriteOnly) return fail(Errno::kEACCES);
        made = new (std::nothrow) ControlFile(path, flags);
        break;
    }
    if (made == nullptr) return fail(Errno::kENOMEM);
    return RefPtr<File>::adopt(made);
  }

 private:
  const HostNode node_;
};

Result<void> add_node(Dentry& directory, std::string_view name, HostNode node,
                      std::uint32_t permissions) {
  auto inode =
      RefPtr<Inode>::adopt(new (std::nothrow) HostInode(directory.inode().superblock(), node));
  if (!inode) return fail(Errno::kENOMEM);
  inode->initialise(permissions, 0, 0, 1);
  TRY(tmpfs_insert(directory, name, std::move(inode)));
  return {};
}

}  // namespace

Result<void> claim_host_stdin(StdinUser user) {
  StdinUser expected = StdinUser::kNobody;
  if (stdin_user.compare_exchange_strong(expected, user) || expected == user) return {};
  return fail(Errno::kEBUSY);
}

Result<void> register_host_channel_devices() {
  TRY_ASSIGN(const RefPtr<Dentry> root, devtmpfs_root());
  RefPtr<Dentry> directory;
  {
    Inode& inode = root->inode();
    MutexGuard guard(inode.lock);
    TRY_ASSIGN(directory, inode.lookup(*root, "host"));
  }
  TRY(add_node(*directory, "stdin", HostNode::kStdin, 0444));
  TRY(add_node(*directory, "stdout", HostNode::kStdout, 0222));
  TRY(add_node(*directory, "stderr", HostNode::kStderr, 0222));
  TRY(add_node(*directory, "control", HostNode::kControl, 0200));
  return register_host_terminal();
}

}  // namespace holstein
