#include "fs/procfs_nodes.h"

#include <algorithm>
#include <cstdarg>
#include <new>

#include "fs/directory_file.h"
#include "lib/format.h"
#include "uaccess/io_iterator.h"

namespace holstein {
namespace {

// The longest text that is taken in one write: all files here want a number or a name.
constexpr std::size_t kMaxStoreBytes = 1024;

class TextFile final : public File {
 public:
  TextFile(const Path& path, std::uint32_t flags, const Credentials& who)
      : File(path, flags), who_{who.uid, who.gid, {}, who.capabilities} {}

 protected:
  Result<std::size_t> do_read(IoSink& to, std::uint64_t& position) override {
    MutexGuard guard(text_lock_);
    if (position == 0 || !generated_) {
      text_.clear();
      TRY(static_cast<ProcText&>(inode()).generate(text_));
      generated_ = true;
    }
    const std::string_view text = text_.view();
    if (position >= text.size()) return std::size_t{0};
    const std::string_view rest = text.substr(position);
    const std::size_t moved =
        to.write(std::as_bytes(std::span(rest)).first(std::min(rest.size(), to.remaining())));
    if (moved == 0 && to.faulted()) return fail(Errno::kEFAULT);
    position += moved;
    return moved;
  }

  Result<std::size_t> do_write(IoSource& from, std::uint64_t& position) override {
    char text[kMaxStoreBytes];
    if (from.remaining() > sizeof(text)) return fail(Errno::kEINVAL);
    const std::size_t size =
        from.read(std::as_writable_bytes(std::span(text)).first(from.remaining()));
    if (from.faulted()) return fail(Errno::kEFAULT);
    TRY(static_cast<ProcText&>(inode()).store({text, size}, who_));
    position += size;
    return size;
  }

  Result<std::int64_t> do_seek(std::int64_t offset, Whence whence,
                               std::uint64_t position) override {
    if (whence != Whence::kSet && whence != Whence::kCurrent) return fail(Errno::kEINVAL);
    return File::do_seek(offset, whence, position);
  }

 private:
  const Credentials who_;  // without supplementary groups, which nobody asks for here
  Mutex text_lock_{LockRank::kPipe};
  String text_ GUARDED_BY(text_lock_);
  bool generated_ GUARDED_BY(text_lock_) = false;
};

}  // namespace

Result<void> append_format(String& to, const char* format, ...) {
  char text[256];
  std::va_list arguments;
  va_start(arguments, format);
  const std::string_view made = format_to_v(text, format, arguments);
  va_end(arguments);
  return to.append(made);
}

std::int32_t parse_proc_number(std::string_view name) {
  constexpr std::size_t kMaxDigits = 9;
  if (name.empty() || name.size() > kMaxDigits || name.front() == '0') return 0;
  std::int32_t number = 0;
  for (const char character : name) {
    if (character < '0' || character > '9') return 0;
    number = number * 10 + (character - '0');
  }
  return number;
}

Result<void> ProcInode::set_attributes(const AttributeChange& change) {
  if (change.set_permissions || change.set_uid || change.set_gid) return fail(Errno::kEPERM);
  return {};
}

Result<void> ProcText::store(std::string_view, const Credentials&) { return fail(Errno::kEIO); }

Result<RefPtr<File>> ProcText::open(const Path& path, std::uint32_t flags, const Credentials& who) {
  auto file = RefPtr<File>::adopt(new (std::nothrow) TextFile(path, flags, who));
  if (!file) return fail(Errno::kENOMEM);
  return file;
}

Result<RefPtr<File>> ProcDirectory::open(const Path& path, std::uint32_t flags,
                                         const Credentials&) {
  return open_directory(path, flags);
}

Result<RefPtr<Dentry>> ProcDirectory::entry(Dentry& self, std::string_view name, Inode* made) {
  if (made == nullptr) return fail(Errno::kENOMEM);
  return Dentry::create(RefPtr<Dentry>(&self), name, RefPtr<Inode>::adopt(made));
}

}  // namespace holstein
