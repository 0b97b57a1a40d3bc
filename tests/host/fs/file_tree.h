// A tmpfs as the root of a made-up process, and the calls of fs/ with std::string on both sides.
#pragma once

#include <string>
#include <vector>

#include "fs/file.h"
#include "fs/mount.h"
#include "fs/operations.h"
#include "fs/path.h"
#include "fs/tmpfs.h"
#include "tests/host/fake/arena.h"
#include "uaccess/io_iterator.h"

namespace holstein::testing {

inline IoSource source_of(const std::string& bytes) {
  return IoSource::from_kernel(std::as_bytes(std::span(bytes)));
}
IoSource source_of(std::string&&) = delete;  // would outlive its bytes

// 0, or the errno.
template <class T>
int code_of(const Result<T>& result) {
  return result.has_value() ? 0 : static_cast<int>(result.error());
}

class FileTree {
 public:
  explicit FileTree(std::uint64_t mebibytes = 64, const TmpfsOptions& options = {})
      : arena(mebibytes) {
    Result<RefPtr<Mount>> mount = make_tmpfs("tmpfs", options, "test");
    HOLSTEIN_ASSERT(mount.has_value());
    const Path top{*mount, (*mount)->root()};
    context = {.root = top, .cwd = top, .umask = 022, .credentials = kKernelCredentials};
  }

  // Everybody else, without rights of root.
  PathContext as_user(std::uint32_t uid, std::uint32_t gid) const {
    PathContext other = context;
    other.credentials = {.uid = uid, .gid = gid, .groups = {}, .capabilities = 0};
    return other;
  }

  Result<RefPtr<File>> open(const std::string& path, std::uint32_t flags,
                            std::uint32_t mode = 0666) {
    return vfs::open(context, nullptr, path, flags, mode);
  }
  int mkdir(const std::string& path, std::uint32_t mode = 0777) {
    return code_of(vfs::make_directory(context, nullptr, path, mode));
  }
  int symlink(const std::string& target, const std::string& path) {
    return code_of(vfs::make_symlink(context, target, nullptr, path));
  }
  int link(const std::string& from, const std::string& to) {
    return code_of(vfs::link(context, nullptr, from, nullptr, to, false, false));
  }
  int unlink(const std::string& path) { return code_of(vfs::unlink(context, nullptr, path)); }
  int rmdir(const std::string& path) {
    return code_of(vfs::remove_directory(context, nullptr, path));
  }
  int rename(const std::string& from, const std::string& to, std::uint32_t flags = 0) {
    return code_of(vfs::rename(context, nullptr, from, nullptr, to, flags));
  }
  Result<Path> find(const std::string& path, bool follow = true) {
    return resolve(context, nullptr, path, follow ? kResolveFollow : 0u);
  }
  Attributes stat(const std::string& path, bool follow = false) {
    const Result<Path> place = find(path, follow);
    return place.has_value() ? vfs::stat(*place) : Attributes{};
  }
  // Makes or replaces a file.
  int put(const std::string& path, const std::string& contents, std::uint32_t mode = 0666) {
    const Result<RefPtr<File>> file =
        open(path, kOpenWriteOnly | kOpenCreate | kOpenTruncate, mode);
    if (!file.has_value()) return code_of(file);
    IoSource source = source_of(contents);
    return code_of((*file)->write(source));
  }
  std::string get(const std::string& path) {
    const Result<RefPtr<File>> file = open(path, kOpenReadOnly);
    return file.has_value() ? read_all(**file) : "errno " + std::to_string(code_of(file));
  }
  static std::string read_all(File& file) {
    std::string result;
    std::string chunk(4096, '\0');
    while (true) {
      IoSink sink = IoSink::to_kernel(std::as_writable_bytes(std::span(chunk)));
      const Result<std::size_t> done = file.read(sink);
      if (!done.has_value()) return result + "errno " + std::to_string(code_of(done));
      if (*done == 0) return result;
      result.append(chunk, 0, *done);
    }
  }
  static std::string read_some(File& file, std::size_t size) {
    std::string chunk(size, '\0');
    IoSink sink = IoSink::to_kernel(std::as_writable_bytes(std::span(chunk)));
    const Result<std::size_t> done = file.read(sink);
    if (!done.has_value()) return "errno " + std::to_string(code_of(done));
    chunk.resize(*done);
    return chunk;
  }
  static int write_all(File& file, const std::string& bytes) {
    IoSource source = source_of(bytes);
    const Result<std::size_t> done = file.write(source);
    if (!done.has_value()) return code_of(done);
    return *done == bytes.size() ? 0 : -1;
  }
  std::string text_of(const Path& place) const {
    String text;
    HOLSTEIN_ASSERT(append_path(place, context.root, text).has_value());
    return std::string(text.view());
  }
  // Names in readdir order, "." and ".." included.
  std::vector<std::string> list(const std::string& path) {
    struct Names final : DirectorySink {
      bool emit(std::string_view name, std::uint64_t, FileType, std::uint64_t) override {
        all.emplace_back(name);
        return true;
      }
      std::vector<std::string> all;
    } names;
    const Result<RefPtr<File>> file = open(path, kOpenReadOnly | kOpenDirectory);
    if (!file.has_value()) return {"errno " + std::to_string(code_of(file))};
    HOLSTEIN_ASSERT((*file)->read_directory(names).has_value());
    return names.all;
  }

  fake::Arena arena;
  PathContext context;
};

}  // namespace holstein::testing
