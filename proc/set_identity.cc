// setuid and its siblings, capset, and the capability side of prctl.
#include <algorithm>

#include "proc/credentials.h"
#include "proc/process.h"
#include "proc/thread.h"

namespace holstein {

namespace {

// Replaces the current thread's identity by `identity`, and moves the thread to the account of the
// new user.
Result<void> commit(RefPtr<Identity> identity) {
  Thread& thread = current_thread();
  const Identity& old = thread.own_identity();
  TRY(identity->update_account());
  if (old.euid != identity->euid || old.egid != identity->egid || old.fsuid != identity->fsuid ||
      old.fsgid != identity->fsgid) {
    thread.process->dumpable.store(false, std::memory_order_relaxed);
    thread.parent_death_signal = 0;
  }
  if (old.account != identity->account) {
    identity->account->threads.fetch_add(1, std::memory_order_relaxed);
    old.account->threads.fetch_sub(1, std::memory_order_relaxed);
    thread.changed_user = true;
  }
  thread.set_identity(std::move(identity));
  return {};
}

Result<RefPtr<Identity>> current_copy() { return current_identity().copy(); }

// man 7 capabilities, "Effect of user ID changes on capabilities".
void adjust_capabilities(const Identity& old, Identity& changed, bool keep_capabilities) {
  if ((changed.secure_bits & kSecureNoSetuidFixup) != 0) {
    return;
  }
  const bool had_root = old.uid == 0 || old.euid == 0 || old.suid == 0;
  const bool has_root = changed.uid == 0 || changed.euid == 0 || changed.suid == 0;
  if (had_root && !has_root) {
    if (!keep_capabilities && (changed.secure_bits & kSecureKeepCaps) == 0) {
      changed.permitted = 0;
      changed.effective = 0;
    }
    changed.ambient = 0;
  }
  if (old.euid == 0 && changed.euid != 0) {
    changed.effective = 0;
  }
  if (old.euid != 0 && changed.euid == 0) {
    changed.effective = changed.permitted;
  }
}

// Capabilities over files follow the file-system user id.
constexpr CapabilitySet kFileCapabilities =
    capability_bit(Capability::kChown) | capability_bit(Capability::kDacOverride) |
    capability_bit(Capability::kDacReadSearch) | capability_bit(Capability::kFowner) |
    capability_bit(Capability::kFsetid) | capability_bit(Capability::kMknod);

Result<void> commit_uids(const Identity& old, RefPtr<Identity> changed) {
  adjust_capabilities(old, *changed, current_thread().keep_capabilities);
  return commit(std::move(changed));
}

bool is_one_of(std::uint32_t id, std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  return id == a || id == b || id == c;
}

}  // namespace

Result<void> set_uid(Uid uid) {
  if (uid == kNoId) {
    return fail(Errno::kEINVAL);
  }
  const Identity& old = current_identity();
  TRY_ASSIGN(RefPtr<Identity> changed, current_copy());
  if (old.has(Capability::kSetUid)) {
    changed->uid = changed->suid = uid;
  } else if (uid != old.uid && uid != old.suid) {
    return fail(Errno::kEPERM);
  }
  changed->euid = changed->fsuid = uid;
  return commit_uids(old, std::move(changed));
}

Result<void> set_reuid(Uid ruid, Uid euid) {
  const Identity& old = current_identity();
  const bool privileged = old.has(Capability::kSetUid);
  if (ruid != kNoId && ruid != old.uid && ruid != old.euid && !privileged) {
    return fail(Errno::kEPERM);
  }
  if (euid != kNoId && !is_one_of(euid, old.uid, old.euid, old.suid) && !privileged) {
    return fail(Errno::kEPERM);
  }
  TRY_ASSIGN(RefPtr<Identity> changed, current_copy());
  if (ruid != kNoId) {
    changed->uid = ruid;
  }
  if (euid != kNoId) {
    changed->euid = euid;
  }
  if (ruid != kNoId || (euid != kNoId && euid != old.uid)) {
    changed->suid = changed->euid;
  }
  changed->fsuid = changed->euid;
  return commit_uids(old, std::move(changed));
}

Result<void> set_resuid(Uid ruid, Uid euid, Uid suid) {
  const Identity& old = current_identity();
  if (!old.has(Capability::kSetUid)) {
    for (const Uid id : {ruid, euid, suid}) {
      if (id != kNoId && !is_one_of(id, old.uid, old.euid, old.suid)) {
        return fail(Errno::kEPERM);
      }
    }
  }
  TRY_ASSIGN(RefPtr<Identity> changed, current_copy());
  if (ruid != kNoId) {
    changed->uid = ruid;
  }
  if (euid != kNoId) {
    changed->euid = euid;
  }
  if (suid != kNoId) {
    changed->suid = suid;
  }
  changed->fsuid = changed->euid;
  return commit_uids(old, std::move(changed));
}

Result<void> set_gid(Gid gid) {
  if (gid == kNoId) {
    return fail(Errno::kEINVAL);
  }
  const Identity& old = current_identity();
  TRY_ASSIGN(RefPtr<Identity> changed, current_copy());
  if (old.has(Capability::kSetGid)) {
    changed->gid = changed->sgid = gid;
  } else if (gid != old.gid && gid != old.sgid) {
    return fail(Errno::kEPERM);
  }
  changed->egid = changed->fsgid = gid;
  return commit(std::move(changed));
}

Result<void> set_regid(Gid rgid, Gid egid) {
  const Identity& old = current_identity();
  const bool privileged = old.has(Capability::kSetGid);
  if (rgid != kNoId && rgid != old.gid && rgid != old.egid && !privileged) {
    return fail(Errno::kEPERM);
  }
  if (egid != kNoId && !is_one_of(egid, old.gid, old.egid, old.sgid) && !privileged) {
    return fail(Errno::kEPERM);
  }
  TRY_ASSIGN(RefPtr<Identity> changed, current_copy());
  if (rgid != kNoId) {
    changed->gid = rgid;
  }
  if (egid != kNoId) {
    changed->egid = egid;
  }
  if (rgid != kNoId || (egid != kNoId && egid != old.gid)) {
    changed->sgid = changed->egid;
  }
  changed->fsgid = changed->egid;
  return commit(std::move(changed));
}

Result<void> set_resgid(Gid rgid, Gid egid, Gid sgid) {
  const Identity& old = current_identity();
  if (!old.has(Capability::kSetGid)) {
    for (const Gid id : {rgid, egid, sgid}) {
      if (id != kNoId && !is_one_of(id, old.gid, old.egid, old.sgid)) {
        return fail(Errno::kEPERM);
      }
    }
  }
  TRY_ASSIGN(RefPtr<Identity> changed, current_copy());
  if (rgid != kNoId) {
    changed->gid = rgid;
  }
  if (egid != kNoId) {
    changed->egid = egid;
  }
  if (sgid != kNoId) {
    changed->sgid = sgid;
  }
  changed->fsgid = changed->egid;
  return commit(std::move(changed));
}

Uid set_fsuid(Uid uid) {
  const Identity& old = current_identity();
  const Uid previous = old.fsuid;
  if (uid == kNoId || (!is_one_of(uid, old.uid, old.euid, old.suid) && uid != previous &&
                       !old.has(Capability::kSetUid))) {
    return previous;
  }
  Result<RefPtr<Identity>> changed = current_copy();
  if (changed.has_value()) {
    (*changed)->fsuid = uid;
    if (((*changed)->secure_bits & kSecureNoSetuidFixup) == 0) {
      if (previous == 0 && uid != 0) {
        (*changed)->effective &= ~kFileCapabilities;
      } else if (previous != 0 && uid == 0) {
        (*changed)->effective |= (*changed)->permitted & kFileCapabilities;
      }
    }
    // Without memory the id stays, which is all that this call can say.
    static_cast<void>(commit(std::move(*changed)));
  }
  return previous;
}

Gid set_fsgid(Gid gid) {
  const Identity& old = current_identity();
  const Gid previous = old.fsgid;
  if (gid == kNoId || (!is_one_of(gid, old.gid, old.egid, old.sgid) && gid != previous &&
                       !old.has(Capability::kSetGid))) {
    return previous;
  }
  Result<RefPtr<Identity>> changed = current_copy();
  if (changed.has_value()) {
    (*changed)->fsgid = gid;
    static_cast<void>(commit(std::move(*changed)));
  }
  return previous;
}

Result<void> set_groups(std::span<const Gid> groups) {
  TRY(require_capability(Capability::kSetGid));
  if (groups.size() > kMaxGroups) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(RefPtr<Identity> changed, current_copy());
  changed->groups.clear();
  TRY(changed->groups.append(groups));
  // A comparison of its own: the plain one is compiled into libc++'s library, which is not linked.
  std::sort(changed->groups.begin(), changed->groups.end(),
            [](auto left, auto right) { return left < right; });
  return commit(std::move(changed));
}

Result<CapabilitySets> get_capabilities(std::int32_t pid) {
  if (pid < 0) {
    return fail(Errno::kEINVAL);
  }
  const RefPtr<Thread> thread = pid == 0 ? RefPtr<Thread>(&current_thread()) : find_thread(pid);
  if (!thread) {
    return fail(Errno::kESRCH);
  }
  const RefPtr<const Identity> identity = thread->identity();
  return CapabilitySets{.effective = identity->effective,
                        .permitted = identity->permitted,
                        .inheritable = identity->inheritable};
}

Result<void> set_capabilities(std::int32_t pid, const CapabilitySets& sets) {
  if (pid != 0 && pid != current_thread().tid()) {
    return fail(Errno::kEPERM);
  }
  const Identity& old = current_identity();
  TRY_ASSIGN(RefPtr<Identity> changed, current_copy());
  const CapabilitySet inheritable = sets.inheritable & kAllCapabilities;
  const CapabilitySet permitted = sets.permitted & kAllCapabilities;
  const CapabilitySet effective = sets.effective & kAllCapabilities;
  const bool may_raise = old.has(Capability::kSetPcap);
  if ((!may_raise && (inheritable & ~(old.inheritable | old.permitted)) != 0) ||
      (inheritable & ~(old.inheritable | old.bounding)) != 0 || (permitted & ~old.permitted) != 0 ||
      (effective & ~permitted) != 0) {
    return fail(Errno::kEPERM);
  }
  changed->effective = effective;
  changed->permitted = permitted;
  changed->inheritable = inheritable;
  changed->ambient &= permitted & inheritable;
  return commit(std::move(changed));
}

Result<void> drop_bounding_capability(unsigned capability) {
  TRY(require_capability(Capability::kSetPcap));
  if (capability >= kCapabilityCount) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(RefPtr<Identity> changed, current_copy());
  changed->bounding &= ~(CapabilitySet{1} << capability);
  return commit(std::move(changed));
}

Result<void> set_secure_bits(std::uint32_t bits) {
  const Identity& old = current_identity();
  constexpr std::uint32_t kAll = 0xff;
  constexpr std::uint32_t kLocks = 0xaa;  // each odd bit locks the one below it
  const std::uint32_t locked = (old.secure_bits & kLocks) | (old.secure_bits & kLocks) >> 1;
  if ((bits & ~kAll) != 0 || ((old.secure_bits ^ bits) & locked) != 0 ||
      !old.has(Capability::kSetPcap)) {
    return fail(Errno::kEPERM);
  }
  TRY_ASSIGN(RefPtr<Identity> changed, current_copy());
  changed->secure_bits = bits;
  return commit(std::move(changed));
}

Result<int> change_ambient(unsigned operation, unsigned capability) {
  constexpr unsigned kIsSet = 1, kRaise = 2, kLower = 3, kClearAll = 4;
  const Identity& old = current_identity();
  if (operation == kClearAll ? capability != 0 : capability >= kCapabilityCount) {
    return fail(Errno::kEINVAL);
  }
  const CapabilitySet bit = operation == kClearAll ? 0 : CapabilitySet{1} << capability;
  if (operation == kIsSet) {
    return (old.ambient & bit) != 0;
  }
  if (operation != kRaise && operation != kLower && operation != kClearAll) {
    return fail(Errno::kEINVAL);
  }
  if (operation == kRaise && (old.permitted & old.inheritable & bit) == 0) {
    return fail(Errno::kEPERM);
  }
  TRY_ASSIGN(RefPtr<Identity> changed, current_copy());
  changed->ambient = operation == kClearAll ? 0
                     : operation == kRaise  ? old.ambient | bit
                                            : old.ambient & ~bit;
  TRY(commit(std::move(changed)));
  return 0;
}

}  // namespace holstein
