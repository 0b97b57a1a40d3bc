// Directories of tmpfs: the entries, and making and moving them.
#include <new>

#include "fs/directory_file.h"
#include "fs/tmpfs_inodes.h"

namespace holstein {
namespace {

// Linux shows 20 bytes an entry for tmpfs directories; programs only look at whether it is 0.
constexpr std::uint64_t kShownBytes = 40;

}  // namespace

TmpfsDirectory::TmpfsDirectory(TmpfsSuperblock& superblock)
    : Inode(superblock, FileType::kDirectory, superblock.next_inode_number()) {}

TmpfsDirectory::~TmpfsDirectory() { tmpfs().remove_inode(); }

TmpfsSuperblock& TmpfsDirectory::tmpfs() const {
  return static_cast<TmpfsSuperblock&>(superblock());
}

Attributes TmpfsDirectory::attributes() const {
  Attributes result = Inode::attributes();
  result.size_bytes = kShownBytes;
  return result;
}

Result<RefPtr<Dentry>> TmpfsDirectory::lookup(Dentry&, std::string_view name) {
  if (name.size() > kMaxNameBytes) return fail(Errno::kENAMETOOLONG);
  Dentry* found = entries_.find(name);
  if (found == nullptr) return fail(Errno::kENOENT);
  return RefPtr<Dentry>(found);
}

// The constructors of inodes count on add_inode(), which their destructors undo.
Result<RefPtr<Inode>> TmpfsDirectory::make_inode(const CreateRequest& request) {
  RefPtr<PageCache> cache;
  String target;
  if (request.type == FileType::kRegular) {
    TRY_ASSIGN(cache, PageCache::create(RefPtr<PageBudget>(&tmpfs().budget())));
  }
  if (request.type == FileType::kSymlink) {
    TRY_ASSIGN(target, String::from(request.target));
  }
  TRY(tmpfs().add_inode());
  Inode* made = nullptr;
  switch (request.type) {
    case FileType::kDirectory:
      made = new (std::nothrow) TmpfsDirectory(tmpfs());
      break;
    case FileType::kRegular:
      made = new (std::nothrow) TmpfsRegular(tmpfs(), std::move(cache));
      break;
    case FileType::kSymlink:
      made = new (std::nothrow) TmpfsSymlink(tmpfs(), std::move(target));
      break;
    default:
      made = new (std::nothrow) TmpfsSpecial(tmpfs(), request.type);
      break;
  }
  if (made == nullptr) {
    tmpfs().remove_inode();
    return fail(Errno::kENOMEM);
  }
  made->initialise(request.permissions, request.uid, request.gid,
                   request.type == FileType::kDirectory ? 2 : 1, request.special_device);
  return RefPtr<Inode>::adopt(made);
}

Result<RefPtr<Dentry>> TmpfsDirectory::insert(Dentry& self, std::string_view name,
                                              RefPtr<Inode> inode) {
  const bool is_directory = inode->is_directory();
  TRY_ASSIGN(RefPtr<Dentry> dentry, Dentry::create(RefPtr<Dentry>(&self), name, std::move(inode)));
  entries_.insert(dentry);
  if (is_directory) add_links(1);
  touch_modified();
  return dentry;
}

Result<RefPtr<Dentry>> TmpfsDirectory::create(Dentry& self, std::string_view name,
                                              const CreateRequest& request) {
  TRY_ASSIGN(RefPtr<Inode> inode, make_inode(request));
  return insert(self, name, std::move(inode));
}

Result<RefPtr<Dentry>> TmpfsDirectory::create_unnamed(Dentry& self, const CreateRequest& request) {
  TRY_ASSIGN(RefPtr<Inode> inode, make_inode(request));
  char name[24];
  char* end = name + sizeof(name);
  char* at = end;
  for (std::uint64_t number = inode->number(); number != 0; number /= 10) {
    *--at = static_cast<char>('0' + number % 10);
  }
  *--at = '#';
  inode->add_links(-1);
  TRY_ASSIGN(RefPtr<Dentry> dentry,
             Dentry::create(RefPtr<Dentry>(&self), {at, static_cast<std::size_t>(end - at)},
                            std::move(inode)));
  dentry->set_removed(true);
  return dentry;
}

Result<RefPtr<Dentry>> TmpfsDirectory::link(Dentry& self, std::string_view name, Inode& target) {
  if (target.links() == UINT32_MAX) return fail(Errno::kEMLINK);
  TRY_ASSIGN(RefPtr<Dentry> dentry, insert(self, name, RefPtr<Inode>(&target)));
  target.add_links(1);
  target.touch_changed();
  return dentry;
}

Result<void> TmpfsDirectory::remove(Dentry&, Dentry& child) {
  Inode& inode = child.inode();
  if (inode.is_directory()) {
    auto& directory = static_cast<TmpfsDirectory&>(inode);
    MutexGuard guard(directory.lock);
    if (!directory.entries_.empty()) return fail(Errno::kENOTEMPTY);
    child.set_removed(true);  // under its lock: nothing is created in it from now on
    directory.add_links(-2);
    add_links(-1);
  } else {
    child.set_removed(true);
    inode.add_links(-1);
  }
  inode.touch_changed();
  touch_modified();
  entries_.take(child);  // the caller holds another reference
  return {};
}

// Not analysed: the other directory's lock is known under two names.
Result<void> TmpfsDirectory::rename(Dentry& self, Dentry& child, Dentry& new_parent,
                                    std::string_view name, Dentry* replaced,
                                    bool exchange) NO_THREAD_SAFETY_ANALYSIS {
  auto& destination = static_cast<TmpfsDirectory&>(new_parent.inode());
  TRY_ASSIGN(String new_name, String::from(name));
  String old_name;
  if (exchange) TRY(child.append_name(old_name));
  const bool moves_directory = child.inode().is_directory();
  RefPtr<Dentry> new_place(&new_parent);
  RefPtr<Dentry> old_place(&self);

  if (replaced != nullptr && !exchange && replaced->inode().is_directory()) {
    auto& victim = static_cast<TmpfsDirectory&>(replaced->inode());
    MutexGuard guard(victim.lock);
    if (!victim.entries_.empty()) return fail(Errno::kENOTEMPTY);
    replaced->set_removed(true);
    victim.add_links(-2);
    destination.add_links(-1);
  } else if (replaced != nullptr && !exchange) {
    replaced->set_removed(true);
    replaced->inode().add_links(-1);
  }
  // Nothing fails from here on.
  RefPtr<Dentry> moving = entries_.take(child);
  RefPtr<Dentry> displaced;
  if (replaced != nullptr) displaced = destination.entries_.take(*replaced);
  move_dentry(child, new_place, new_name);  // the old values are dropped at the end
  destination.entries_.insert(std::move(moving));
  if (moves_directory) {
    add_links(-1);
    destination.add_links(1);
  }
  if (replaced != nullptr) replaced->inode().touch_changed();
  if (exchange) {
    move_dentry(*replaced, old_place, old_name);
    entries_.insert(std::move(displaced));
    if (replaced->inode().is_directory()) {
      destination.add_links(-1);
      add_links(1);
    }
  }
  child.inode().touch_changed();
  touch_modified();
  destination.touch_modified();
  return {};
}

Result<void> TmpfsDirectory::read_directory(Dentry&, DirectorySink& sink, std::uint64_t& position) {
  String name;
  for (Dentry* entry = entries_.at_or_after(position); entry != nullptr;
       entry = entries_.at_or_after(position)) {
    name.clear();
    TRY(entry->append_name(name));
    const Inode& inode = entry->inode();
    const std::uint64_t next = entry->cookie + 1;
    if (!sink.emit(name.view(), inode.number(), inode.type(), next)) return {};
    position = next;
  }
  return {};
}

Result<RefPtr<File>> TmpfsDirectory::open(const Path& path, std::uint32_t flags,
                                          const Credentials&) {
  return open_directory(path, flags);
}

RefPtr<Dentry> TmpfsDirectory::peek_any() {
  MutexGuard guard(lock);
  return RefPtr<Dentry>(entries_.at_or_after(0));
}

void TmpfsDirectory::drop(Dentry& child) {
  RefPtr<Dentry> dropped;  // after the lock
  MutexGuard guard(lock);
  dropped = entries_.take(child);
}

}  // namespace holstein
