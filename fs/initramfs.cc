#include "fs/initramfs.h"

#include <new>

#include "fs/cpio.h"
#include "fs/tmpfs.h"
#include "vm/frame.h"
#include "vm/page_cache.h"

namespace holstein {
namespace {

constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

// Finds the file again that an earlier name of the archive stood for.
class LinkTable {
  struct Node {
    Node(const CpioMember& member, Inode& file, Node* after)
        : inode_number(member.inode),
          major(member.device_major),
          minor(member.device_minor),
          inode(&file),
          next(after) {}
    std::uint64_t inode_number;
    std::uint32_t major, minor;
    RefPtr<Inode> inode;
    Node* next;
  };

 public:
  LinkTable() = default;
  LinkTable(const LinkTable&) = delete;
  LinkTable& operator=(const LinkTable&) = delete;
  ~LinkTable() {
    for (const Bucket& bucket : buckets_) {
      Node* node = bucket.first;
      while (node != nullptr) {
        Node* next = node->next;
        delete node;
        node = next;
      }
    }
  }
  RefPtr<Inode> find(const CpioMember& member) const {
    if (buckets_.empty()) return nullptr;
    for (Node* node = buckets_[index(member)].first; node != nullptr; node = node->next) {
      if (node->inode_number == member.inode && node->major == member.device_major &&
          node->minor == member.device_minor) {
        return node->inode;
      }
    }
    return nullptr;
  }

  Result<void> add(const CpioMember& member, Inode& inode) {
    if (buckets_.empty()) TRY(buckets_.resize(kBuckets));
    Node*& head = buckets_[index(member)].first;
    auto* node = new (std::nothrow) Node(member, inode, head);
    if (node == nullptr) return fail(Errno::kENOMEM);
    head = node;
    return {};
  }

 private:
  static constexpr std::size_t kBuckets = 4096;
  static std::size_t index(const CpioMember& member) {
    return (member.inode * 0x9e3779b97f4a7c15 >> 32) % kBuckets;
  }

  struct Bucket {
    Node* first = nullptr;
  };
  Vec<Bucket> buckets_;
};

class Unpacker {
 public:
  Unpacker(std::span<const std::byte> archive, Dentry& root, ArchivePages pages,
           InitramfsReport& report, AdoptedPages adopted)
      : reader_(archive), root_(root), pages_(pages), report_(report), adopted_(adopted) {}

  Result<void> run() {
    const Result<void> result = unpack_all();
    if (!result.has_value()) {
      const char* problem = problem_ != nullptr ? problem_ : reader_.problem();
      report_.problem = problem != nullptr                 ? problem
                        : result.error() == Errno::kENOMEM ? "there is not enough memory for it"
                                                           : "a file cannot be made";
      report_.problem_offset = reader_.offset();
    }
    // Making entries changed the directories' times.
    for (const DirectoryTime& entry : directory_times_) {
      entry.directory->inode().set_modified_time(entry.time);
    }
    return result;
  }

 private:
  struct DirectoryTime {
    RefPtr<Dentry> directory;
    FileTime time;
  };

  std::unexpected<Errno> refuse(const char* problem) {
    problem_ = problem;
    return fail(Errno::kEINVAL);
  }

  Result<void> unpack_all() {
    CpioMember member;
    while (true) {
      TRY_ASSIGN(const bool more, reader_.next(member));
      if (!more) return {};
      TRY(unpack(member));
      ++report_.entries;
    }
  }

  // The directory that `name` lies in, with missing ones made, and the last component.
  Result<RefPtr<Dentry>> enter_parent(std::string_view& name) {
    RefPtr<Dentry> at(&root_);
    while (true) {
      const std::size_t begin = name.find_first_not_of('/');
      name.remove_prefix(begin == std::string_view::npos ? name.size() : begin);
      const std::size_t slash = name.find('/');
      const std::string_view component = name.substr(0, slash);
      if (component == "..") return refuse("a name contains \"..\"");
      if (component.size() > kMaxNameBytes) return refuse("a name is too long");
      const bool is_last = slash == std::string_view::npos ||
                           name.find_first_not_of('/', slash) == std::string_view::npos;
      if (component == ".") {
        name.remove_prefix(slash == std::string_view::npos ? name.size() : slash);
        if (is_last) {
          name = {};
          return at;
        }
        continue;
      }
      if (is_last) {
        name = component;
        return at;
      }
      TRY_ASSIGN(RefPtr<Dentry> child, find(*at, component));
      if (!child) {
        TRY_ASSIGN(child, tmpfs_create(*at, component,
                                       {.type = FileType::kDirectory, .permissions = 0755}));
      }
      if (!child->inode().is_directory()) return refuse("a file is used as a directory");
      at = std::move(child);
      name.remove_prefix(slash);
    }
  }

  // Null where there is no such entry.
  static Result<RefPtr<Dentry>> find(Dentry& directory, std::string_view name) {
    Inode& inode = directory.inode();
    MutexGuard guard(inode.lock);
    Result<RefPtr<Dentry>> found = inode.lookup(directory, name);
    if (found.has_value()) return found;
    if (found.error() == Errno::kENOENT) return RefPtr<Dentry>();
    return fail(found.error());
  }

  Result<void> unpack(const CpioMember& member) {
    std::string_view name = member.name;
    if (name.empty()) return refuse("a name is empty");
    TRY_ASSIGN(RefPtr<Dentry> parent, enter_parent(name));
    const FileType type = type_of_mode(member.mode);
    if (name.empty()) {
      if (type != FileType::kDirectory) return refuse("the root is no directory");
      return finish_directory(parent, member);
    }
    TRY_ASSIGN(RefPtr<Dentry> existing, find(*parent, name));
    if (existing && existing->inode().is_directory()) {
      if (type != FileType::kDirectory) return refuse("a directory is named again as a file");
      return finish_directory(existing, member);
    }
    if (type == FileType::kRegular && member.links > 1) {
      if (RefPtr<Inode> earlier = links_.find(member); earlier) {
        return add_link(*parent, name, existing, *earlier, member);
      }
    }
    if (existing) TRY(remove(*parent, *existing));
    return create(*parent, name, type, member);
  }

  static Result<void> remove(Dentry& parent, Dentry& child) {
    Inode& inode = parent.inode();
    MutexGuard guard(inode.lock);
    return inode.remove(parent, child);
  }

  Result<void> add_link(Dentry& parent, std::string_view name, const RefPtr<Dentry>& existing,
                        Inode& earlier, const CpioMember& member) {
    if (!existing || &existing->inode() != &earlier) {
      if (existing) TRY(remove(parent, *existing));
      Inode& inode = parent.inode();
      MutexGuard guard(inode.lock);
      TRY(inode.link(parent, name, earlier));
    }
    // The contents come with one of the names, as a rule the last.
    if (!member.contents.empty()) TRY(fill(earlier, member));
    return finish(earlier, member);
  }

  Result<void> create(Dentry& parent, std::string_view name, FileType type,
                      const CpioMember& member) {
    CreateRequest request{.type = type,
                          .permissions = member.mode & kModePermissions,
                          .uid = member.uid,
                          .gid = member.gid};
    switch (type) {
      case FileType::kRegular:
      case FileType::kFifo:
      case FileType::kSocket:
      case FileType::kDirectory:
        break;
      case FileType::kCharacterDevice:
      case FileType::kBlockDevice:
        request.special_device = make_device(member.special_major, member.special_minor);
        break;
      case FileType::kSymlink: {
        const std::string_view target(reinterpret_cast<const char*>(member.contents.data()),
                                      member.contents.size());
        if (target.empty() || target.size() >= kMaxPathBytes || target.contains('\0')) {
          return refuse("a symbolic link's target is empty, too long or no text");
        }
        request.target = target;
        break;
      }
      default:
        return refuse("a file is of an unknown kind");
    }
    if (type != FileType::kRegular && type != FileType::kSymlink && !member.contents.empty()) {
      return refuse("something that is no file has contents");
    }
    TRY_ASSIGN(RefPtr<Dentry> made, tmpfs_create(parent, name, request));
    if (type == FileType::kDirectory) return finish_directory(made, member);
    Inode& inode = made->inode();
    if (type == FileType::kRegular) {
      if (member.links > 1) TRY(links_.add(member, inode));
      TRY(fill(inode, member));
    }
    inode.set_modified_time(time_of(member));
    return {};
  }

  Result<void> fill(Inode& inode, const CpioMember& member) {
    PageCache& cache = *inode.page_cache();
    const std::span<const std::byte> bytes = member.contents;
    TRY(cache.resize(0));  // a file whose names bring contents twice
    TRY(cache.resize(bytes.size()));
    std::uint64_t done = 0;
    if (pages_ == ArchivePages::kAdopt && is_aligned(member.contents_offset, kPageSize)) {
      while (bytes.size() - done >= kPageSize) {
        const PhysAddr frame = virt_to_phys(bytes.data() + done);
        // Without memory for the index the page is copied, or that fails as well.
        if (!cache.adopt_page(done >> kPageShift, frame).has_value()) break;
        if (adopted_.note != nullptr) {
          adopted_.note(adopted_.context, member.contents_offset + done);
        }
        ++report_.adopted_pages;
        done += kPageSize;
      }
    }
    while (done < bytes.size()) {
      Result<std::size_t> written = cache.write_at(done, bytes.subspan(done));
      if (!written.has_value()) return fail(Errno::kENOMEM);
      done += *written;
      report_.copied_bytes += *written;
    }
    return {};
  }

  static FileTime time_of(const CpioMember& member) {
    return static_cast<FileTime>(member.modified_seconds) * kNanosecondsPerSecond;
  }

  static Result<void> finish(Inode& inode, const CpioMember& member) {
    return inode.set_attributes({.set_permissions = true,
                                 .set_uid = true,
                                 .set_gid = true,
                                 .set_accessed = true,
                                 .set_modified = true,
                                 .permissions = member.mode & kModePermissions,
                                 .uid = member.uid,
                                 .gid = member.gid,
                                 .accessed = time_of(member),
                                 .modified = time_of(member)});
  }

  Result<void> finish_directory(const RefPtr<Dentry>& directory, const CpioMember& member) {
    if (!member.contents.empty()) return refuse("something that is no file has contents");
    TRY(directory_times_.push_back({directory, time_of(member)}));
    return finish(directory->inode(), member);
  }

  CpioReader reader_;
  Dentry& root_;
  const ArchivePages pages_;
  InitramfsReport& report_;
  const AdoptedPages adopted_;
  const char* problem_ = nullptr;
  LinkTable links_;
  Vec<DirectoryTime> directory_times_;
};

}  // namespace

Result<void> unpack_initramfs(std::span<const std::byte> archive, Dentry& root, ArchivePages pages,
                              InitramfsReport& report, AdoptedPages adopted) {
  if (archive.empty()) {
    report.problem = "it is empty";
    return fail(Errno::kEINVAL);
  }
  return Unpacker(archive, root, pages, report, adopted).run();
}

}  // namespace holstein
