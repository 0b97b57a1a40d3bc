// Who a thread acts for: user and group identities and capabilities. (fs/credentials.h has the
// part that permission checks on files look at.)
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "fs/credentials.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "lib/vec.h"

namespace holstein {

using Uid = std::uint32_t;
using Gid = std::uint32_t;
inline constexpr std::uint32_t kNoId = UINT32_MAX;  // "leave as it is" in setresuid and its like
inline constexpr std::size_t kMaxGroups = 65536;    // NGROUPS_MAX

using CapabilitySet = std::uint64_t;
inline constexpr unsigned kCapabilityCount = 41;
constexpr CapabilitySet capability_bit(Capability capability) {
  return CapabilitySet{1} << static_cast<unsigned>(capability);
}

// What is counted for each user (real user id), for RLIMIT_NPROC and RLIMIT_SIGPENDING. Kept in one
// list while somebody holds it.
struct UserAccount {
  Uid uid = 0;
  std::uint32_t users = 0;  // accounts_lock in credentials.cc
  std::atomic<std::uint32_t> threads = 0;
  std::atomic<std::uint32_t> pending_signals = 0;
  UserAccount* next = nullptr;  // accounts_lock
};
// Both for the life of the holder. ENOMEM gives null.
UserAccount* acquire_account(Uid uid);
UserAccount* hold_account(UserAccount& account);
void release_account(UserAccount* account);

// Immutable once a thread uses it: threads share it, and a change is made in a copy()
// that replaces it (Thread::set_identity).
class Identity : public RefCounted<Identity> {
 public:
  // Root with every capability. ENOMEM.
  static Result<RefPtr<Identity>> create();
  Result<RefPtr<Identity>> copy() const;

  bool has(Capability capability) const { return (effective & capability_bit(capability)) != 0; }
  bool in_group(Gid wanted) const;  // fsgid or a supplementary group
  // May somebody with this identity send a signal to a thread with `target`'s?
  bool may_signal(const Identity& target) const;
  // For file permissions; `groups` stays owned by this object.
  Credentials file_credentials() const {
    return {.uid = fsuid, .gid = fsgid, .groups = groups.span(), .capabilities = effective};
  }
  // The same with the real ids, as access(2) checks.
  Credentials real_file_credentials() const;

  Uid uid = 0, euid = 0, suid = 0, fsuid = 0;
  Gid gid = 0, egid = 0, sgid = 0, fsgid = 0;
  CapabilitySet effective = kAllCapabilities;
  CapabilitySet permitted = kAllCapabilities;
  CapabilitySet inheritable = 0;
  CapabilitySet ambient = 0;
  CapabilitySet bounding = kAllCapabilities;
  std::uint32_t secure_bits = 0;
  Vec<Gid> groups;                 // sorted
  UserAccount* account = nullptr;  // of `uid`; never null

  // Makes `account` that of `uid` again after a change. ENOMEM.
  [[nodiscard]] Result<void> update_account();

 private:
  friend class RefCounted<Identity>;
  Identity() = default;
  ~Identity();
};

// Secure bits (man 7 capabilities).
inline constexpr std::uint32_t kSecureNoRoot = 1, kSecureNoSetuidFixup = 4, kSecureKeepCaps = 16;

// The current thread's identity.
const Identity& current_identity();
// EPERM unless the current thread has `capability`.
[[nodiscard]] Result<void> require_capability(Capability capability);

// The system calls, for the current thread; errors as the manual pages have them.
[[nodiscard]] Result<void> set_uid(Uid uid);
[[nodiscard]] Result<void> set_gid(Gid gid);
[[nodiscard]] Result<void> set_reuid(Uid ruid, Uid euid);
[[nodiscard]] Result<void> set_regid(Gid rgid, Gid egid);
[[nodiscard]] Result<void> set_resuid(Uid ruid, Uid euid, Uid suid);
[[nodiscard]] Result<void> set_resgid(Gid rgid, Gid egid, Gid sgid);
// Both return the previous value, whatever happened.
Uid set_fsuid(Uid uid);
Gid set_fsgid(Gid gid);
[[nodiscard]] Result<void> set_groups(std::span<const Gid> groups);

// capget and capset. `pid` 0 is the current thread.
struct CapabilitySets {
  CapabilitySet effective = 0, permitted = 0, inheritable = 0;
};
[[nodiscard]] Result<CapabilitySets> get_capabilities(std::int32_t pid);
[[nodiscard]] Result<void> set_capabilities(std::int32_t pid, const CapabilitySets& sets);
// prctl(PR_CAPBSET_DROP) and PR_SET_SECUREBITS.
[[nodiscard]] Result<void> drop_bounding_capability(unsigned capability);
[[nodiscard]] Result<void> set_secure_bits(std::uint32_t bits);
// prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_*).
[[nodiscard]] Result<int> change_ambient(unsigned operation, unsigned capability);

}  // namespace holstein
