// Reading directories: "." and "..", and the records of getdents64(2).
#include <algorithm>
#include <cstring>
#include <new>

#include "fs/directory_file.h"
#include "fs/file.h"
#include "fs/mount.h"
#include "fs/path.h"
#include "uaccess/io_iterator.h"

namespace holstein {
namespace {

// Positions 0 and 1 are "." and ".."; the file system's own start behind them.
constexpr std::uint64_t kFirstEntry = 2;
constexpr std::uint64_t kCookieOffset = 2;

// Hands the file system's cookies on, moved past "." and "..".
class ShiftedSink final : public DirectorySink {
 public:
  explicit ShiftedSink(DirectorySink& sink) : sink_(sink) {}
  bool emit(std::string_view name, std::uint64_t inode, FileType type,
            std::uint64_t cookie) override {
    return sink_.emit(name, inode, type, cookie + kCookieOffset);
  }

 private:
  DirectorySink& sink_;
};

// struct linux_dirent64 up to its name.
struct RecordHead {
  std::uint64_t inode;
  std::int64_t next;
  std::uint16_t length;
  std::uint8_t type;
} __attribute__((packed));
static_assert(sizeof(RecordHead) == 19);

// Writes records while they fit as a whole.
class RecordWriter final : public DirectorySink {
 public:
  explicit RecordWriter(IoSink& to) : to_(to) {}

  bool emit(std::string_view name, std::uint64_t inode, FileType type,
            std::uint64_t cookie) override {
    const std::size_t length = align_up(sizeof(RecordHead) + name.size() + 1, 8);
    if (length > to_.remaining()) {
      full_ = true;
      return false;
    }
    std::byte record[sizeof(RecordHead) + kMaxNameBytes + 1 + 7] = {};
    const RecordHead head{.inode = inode,
                          .next = static_cast<std::int64_t>(cookie),
                          .length = static_cast<std::uint16_t>(length),
                          .type = static_cast<std::uint8_t>(type)};
    std::memcpy(record, &head, sizeof(head));
    std::memcpy(record + sizeof(head), name.data(), name.size());
    if (to_.write({record, length}) != length) return false;
    written_ += length;
    return true;
  }
  std::size_t written() const { return written_; }
  bool full() const { return full_; }

 private:
  IoSink& to_;
  std::size_t written_ = 0;
  bool full_ = false;
};

class DirectoryFile final : public File {
 public:
  using File::File;

 protected:
  // The end of a directory is where no cookie reaches; only SEEK_SET and SEEK_CUR make sense.
  Result<std::int64_t> do_seek(std::int64_t offset, Whence whence,
                               std::uint64_t position) override {
    if (whence != Whence::kSet && whence != Whence::kCurrent) return fail(Errno::kEINVAL);
    return File::do_seek(offset, whence, position);
  }
};

}  // namespace

Result<RefPtr<File>> open_directory(const Path& path, std::uint32_t flags) {
  auto file = RefPtr<File>::adopt(new (std::nothrow) DirectoryFile(path, flags));
  if (!file) return fail(Errno::kENOMEM);
  return file;
}

Result<void> File::read_directory(DirectorySink& sink) {
  if (is_path_only()) return fail(Errno::kEBADF);
  Inode& directory = inode();
  if (!directory.is_directory()) return fail(Errno::kENOTDIR);
  MutexGuard guard(position_lock_);
  if (path_.dentry->is_removed()) return fail(Errno::kENOENT);
  directory.touch_accessed();
  if (position_ == 0) {
    if (!sink.emit(".", directory.number(), FileType::kDirectory, 1)) return {};
    position_ = 1;
  }
  if (position_ == 1) {
    const RefPtr<Dentry> above = path_.dentry->parent();
    const std::uint64_t number = above ? above->inode().number() : directory.number();
    if (!sink.emit("..", number, FileType::kDirectory, kFirstEntry)) return {};
    position_ = kFirstEntry;
  }
  ShiftedSink shifted(sink);
  std::uint64_t position = position_ - kFirstEntry;
  MutexGuard entries(directory.lock);
  const Result<void> result = directory.read_directory(*path_.dentry, shifted, position);
  position_ = position + kFirstEntry;
  return result;
}

Result<std::size_t> File::getdents64(IoSink& to) {
  RecordWriter writer(to);
  const Result<void> result = read_directory(writer);
  if (writer.written() != 0) return writer.written();
  TRY(result);
  if (to.faulted()) return fail(Errno::kEFAULT);
  if (writer.full()) return fail(Errno::kEINVAL);
  return std::size_t{0};
}

}  // namespace holstein
