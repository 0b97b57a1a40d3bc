#include "fs/dentry.h"

#include <new>

#include "lib/spinlock.h"

namespace holstein {
namespace {

// Protects parent and name of every dentry. Held for a few instructions; nothing is freed or
// allocated under it.
constinit SpinLock name_lock{LockRank::kFirstSpinLock};

}  // namespace

Result<RefPtr<Dentry>> Dentry::create(RefPtr<Dentry> parent, std::string_view name,
                                      RefPtr<Inode> inode) {
  TRY_ASSIGN(String copy, String::from(name));
  auto dentry = RefPtr<Dentry>::adopt(new (std::nothrow) Dentry(std::move(inode)));
  if (!dentry) return fail(Errno::kENOMEM);
  dentry->parent_ = std::move(parent);
  dentry->name_ = std::move(copy);
  return dentry;
}

// A program can make a chain of removed directories of any length that only the innermost one
// holds, so the chain is taken apart in a loop and not by nested destructors.
Dentry::~Dentry() {
  RefPtr<Dentry> above = std::move(parent_);
  while (above && above->reference_count() == 1) {
    // Nobody else can reach `above`: it needs no lock.
    RefPtr<Dentry> next = std::move(above->parent_);
    above = std::move(next);
  }
}

RefPtr<Dentry> Dentry::parent() const {
  SpinGuard guard(name_lock);
  return parent_;
}

Result<void> Dentry::append_name(String& to) const {
  // The name may change between the two looks, so the copy is taken into a fixed buffer.
  char copy[kMaxNameBytes];
  std::size_t length = 0;
  {
    SpinGuard guard(name_lock);
    const std::string_view name = name_.view();
    length = name.size() < sizeof(copy) ? name.size() : sizeof(copy);
    name.copy(copy, length);
  }
  return to.append({copy, length});
}

void move_dentry(Dentry& dentry, RefPtr<Dentry>& parent, String& name) {
  SpinGuard guard(name_lock);
  std::swap(dentry.parent_, parent);
  std::swap(dentry.name_, name);
}

}  // namespace holstein
