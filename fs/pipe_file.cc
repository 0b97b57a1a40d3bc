// The open ends of pipes, and pipe2(2).
#include <new>

#include "fs/mount.h"
#include "fs/operations.h"
#include "fs/pipe.h"
#include "fs/placeless.h"
#include "fs/termios.h"
#include "uaccess/user_ptr.h"

namespace holstein {
namespace {

class PipeFile final : public File {
 public:
  // The pipe has counted this end already.
  PipeFile(const Path& path, std::uint32_t flags, RefPtr<Pipe> pipe,
           std::uint32_t writer_opens_before)
      : File(path, flags), pipe_(std::move(pipe)), writer_opens_before_(writer_opens_before) {}
  ~PipeFile() override { pipe_->remove_ends(flags()); }

  Pipe* pipe() override { return pipe_.get(); }
  bool is_seekable() const override { return false; }

  std::uint32_t poll(std::uint32_t, PollTable* table) override {
    std::uint32_t events = 0;
    if (is_readable()) events |= pipe_->poll_reader(table, writer_opens_before_);
    if (is_writable()) events |= pipe_->poll_writer(table);
    return events;
  }

  Result<std::int64_t> ioctl(std::uint32_t command, std::uint64_t argument) override {
    if (command != kFionread) return fail(Errno::kENOTTY);
    TRY(UserOut<std::int32_t>::from_register(argument).put(
        static_cast<std::int32_t>(pipe_->bytes_waiting())));
    return 0;
  }

 protected:
  Result<std::size_t> do_read(IoSink& to, std::uint64_t&) override {
    TRY_ASSIGN(const std::size_t done, pipe_->read(to, is_nonblocking()));
    if (done != 0) inode().touch_accessed();
    return done;
  }
  Result<std::size_t> do_write(IoSource& from, std::uint64_t&) override {
    TRY_ASSIGN(const std::size_t done, pipe_->write(from, is_nonblocking()));
    if (done != 0) inode().touch_modified();
    return done;
  }

 private:
  const RefPtr<Pipe> pipe_;
  const std::uint32_t writer_opens_before_;
};

// The inode of an anonymous pipe, which /proc/<pid>/fd/<n> can open again.
class AnonymousPipe final : public Inode {
 public:
  AnonymousPipe(Superblock& superblock, RefPtr<Pipe> pipe)
      : Inode(superblock, FileType::kFifo, superblock.next_inode_number()),
        pipe_(std::move(pipe)) {}

  Result<RefPtr<File>> open(const Path& path, std::uint32_t flags, const Credentials&) override;

 private:
  const RefPtr<Pipe> pipe_;
};

// Adopts ends that were added.
Result<RefPtr<File>> make_end(const RefPtr<Pipe>& pipe, const Path& path, std::uint32_t flags,
                              std::uint32_t writer_opens_before) {
  auto file =
      RefPtr<File>::adopt(new (std::nothrow) PipeFile(path, flags, pipe, writer_opens_before));
  if (!file) {
    pipe->remove_ends(flags);
    return fail(Errno::kENOMEM);
  }
  return file;
}

// Unlike a named pipe it waits for nobody, not even where all other ends are closed.
Result<RefPtr<File>> AnonymousPipe::open(const Path& path, std::uint32_t flags,
                                         const Credentials&) {
  if ((flags & kOpenAccessMode) > kOpenReadWrite) return fail(Errno::kEINVAL);
  pipe_->add_ends(flags);
  return make_end(pipe_, path, flags, pipe_->writer_opens() - 1);
}

}  // namespace

Result<RefPtr<File>> open_fifo(RefPtr<Pipe> pipe, const Path& path, std::uint32_t flags) {
  if ((flags & kOpenAccessMode) > kOpenReadWrite) return fail(Errno::kEINVAL);
  const bool had_writers = pipe->has_writers();
  TRY(pipe->open_ends(flags));
  // A writer that was or came meanwhile may hang up; where there was none, only the next one.
  const std::uint32_t opens = pipe->writer_opens();
  const bool may_hang_up = had_writers || (flags & kOpenNonBlock) == 0;
  return make_end(pipe, path, flags, may_hang_up ? opens - 1 : opens);
}

Result<PipeEnds> make_pipe(std::uint32_t flags, const Credentials& who) {
  TRY_ASSIGN(RefPtr<Pipe> pipe, Pipe::create());
  TRY_ASSIGN(RefPtr<Mount> mount, internal_mount(InternalMount::kPipes));
  auto inode = RefPtr<Inode>::adopt(new (std::nothrow) AnonymousPipe(mount->superblock(), pipe));
  if (!inode) return fail(Errno::kENOMEM);
  inode->initialise(0600, who.uid, who.gid, 1);
  TRY_ASSIGN(Path place, place_numbered("pipe", std::move(mount), std::move(inode)));
  const std::uint32_t kept = flags & (kOpenNonBlock | kOpenDirect);
  pipe->add_ends(kOpenReadOnly);
  PipeEnds ends;
  TRY_ASSIGN(ends.reader, make_end(pipe, place, kOpenReadOnly | kept, pipe->writer_opens()));
  pipe->add_ends(kOpenWriteOnly);
  TRY_ASSIGN(ends.writer, make_end(pipe, place, kOpenWriteOnly | kept, 0));
  return ends;
}

}  // namespace holstein
