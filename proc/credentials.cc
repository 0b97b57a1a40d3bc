// Identities as objects, and the accounts of users. The system calls are in set_identity.cc.
#include "proc/credentials.h"

#include <new>

#include "lib/spinlock.h"
#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

namespace {

constinit SpinLock accounts_lock{LockRank::kSignals};
constinit UserAccount* accounts = nullptr;  // accounts_lock

}  // namespace

UserAccount* acquire_account(Uid uid) {
  auto* fresh = new (std::nothrow) UserAccount;
  UserAccount* found = nullptr;
  {
    SpinGuard guard(accounts_lock);
    for (found = accounts; found != nullptr && found->uid != uid; found = found->next) {
    }
    if (found == nullptr && fresh != nullptr) {
      found = std::exchange(fresh, nullptr);
      found->uid = uid;
      found->next = accounts;
      accounts = found;
    }
    if (found != nullptr) {
      ++found->users;
    }
  }
  delete fresh;
  return found;
}

UserAccount* hold_account(UserAccount& account) {
  SpinGuard guard(accounts_lock);
  ++account.users;
  return &account;
}

void release_account(UserAccount* account) {
  {
    SpinGuard guard(accounts_lock);
    if (--account->users > 0) {
      return;
    }
    UserAccount** link = &accounts;
    while (*link != account) {
      link = &(*link)->next;
    }
    *link = account->next;
  }
  delete account;
}

Result<RefPtr<Identity>> Identity::create() {
  auto identity = RefPtr<Identity>::adopt(new (std::nothrow) Identity);
  if (!identity) {
    return fail(Errno::kENOMEM);
  }
  TRY(identity->update_account());
  return identity;
}

Identity::~Identity() {
  if (account != nullptr) {
    release_account(account);
  }
}

Result<void> Identity::update_account() {
  if (account != nullptr && account->uid == uid) {
    return {};
  }
  UserAccount* wanted = acquire_account(uid);
  if (wanted == nullptr) {
    return fail(Errno::kENOMEM);
  }
  if (account != nullptr) {
    release_account(account);
  }
  account = wanted;
  return {};
}

Result<RefPtr<Identity>> Identity::copy() const {
  auto copy = RefPtr<Identity>::adopt(new (std::nothrow) Identity);
  if (!copy) {
    return fail(Errno::kENOMEM);
  }
  copy->uid = uid;
  copy->euid = euid;
  copy->suid = suid;
  copy->fsuid = fsuid;
  copy->gid = gid;
  copy->egid = egid;
  copy->sgid = sgid;
  copy->fsgid = fsgid;
  copy->effective = effective;
  copy->permitted = permitted;
  copy->inheritable = inheritable;
  copy->ambient = ambient;
  copy->bounding = bounding;
  copy->secure_bits = secure_bits;
  TRY(copy->groups.append(groups.span()));
  TRY(copy->update_account());
  return copy;
}

bool Identity::in_group(Gid wanted) const {
  if (wanted == fsgid) {
    return true;
  }
  for (const Gid group : groups) {
    if (group == wanted) {
      return true;
    }
  }
  return false;
}

bool Identity::may_signal(const Identity& target) const {
  return euid == target.suid || euid == target.uid || uid == target.suid || uid == target.uid ||
         has(Capability::kKill);
}

Credentials Identity::real_file_credentials() const {
  // access(2): what the real user could do, with all capabilities if he is root and none if not.
  const CapabilitySet capabilities =
      (secure_bits & kSecureNoSetuidFixup) != 0 ? effective : (uid == 0 ? permitted : 0);
  return {.uid = uid, .gid = gid, .groups = groups.span(), .capabilities = capabilities};
}

const Identity& current_identity() { return current_thread().own_identity(); }

Result<void> require_capability(Capability capability) {
  if (!current_identity().has(capability)) {
    return fail(Errno::kEPERM);
  }
  return {};
}

}  // namespace holstein
