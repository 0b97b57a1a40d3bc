// Attributes by place: stat, access, chmod, chown, utimensat, truncate, readlink, statfs.
#include "fs/mount.h"
#include "fs/operations.h"
#include "lib/clock_port.h"

namespace holstein::vfs {

Attributes stat(const Path& place) { return place.inode().attributes(); }

Result<void> check_access(const Path& place, std::uint32_t wanted, const Credentials& who) {
  Inode& inode = place.inode();
  if ((wanted & kMayExecute) != 0 && inode.is_regular() &&
      (place.mount->flags() & kMountNoExec) != 0) {
    return fail(Errno::kEACCES);
  }
  const bool is_special = inode.type() != FileType::kRegular &&
                          inode.type() != FileType::kDirectory &&
                          inode.type() != FileType::kSymlink;
  TRY(inode.check_permission(who, wanted & 7));
  if ((wanted & kMayWrite) != 0 && !is_special && place.mount->is_read_only()) {
    return fail(Errno::kEROFS);
  }
  return {};
}

Result<void> change_mode(const Path& place, std::uint32_t mode, const Credentials& who) {
  Inode& inode = place.inode();
  if (place.mount->is_read_only()) return fail(Errno::kEROFS);
  if (inode.is_symlink()) return fail(Errno::kEOPNOTSUPP);
  if (!inode.is_owner(who)) return fail(Errno::kEPERM);
  AttributeChange change{.set_permissions = true, .permissions = mode & kModePermissions};
  if (!who.in_group(inode.gid()) && !who.has(Capability::kFsetid)) {
    change.permissions &= ~kModeSetGid;
  }
  return inode.set_attributes(change);
}

Result<void> change_owner(const Path& place, std::uint32_t uid, std::uint32_t gid,
                          const Credentials& who) {
  Inode& inode = place.inode();
  if (place.mount->is_read_only()) return fail(Errno::kEROFS);
  const bool is_root = who.has(Capability::kChown);
  const bool owns = who.uid == inode.uid();
  AttributeChange change;
  if (uid != kKeepOwner) {
    if (!is_root && !(owns && uid == inode.uid())) return fail(Errno::kEPERM);
    change.set_uid = true;
    change.uid = uid;
  }
  if (gid != kKeepOwner) {
    if (!is_root && !(owns && (who.in_group(gid) || gid == inode.gid()))) {
      return fail(Errno::kEPERM);
    }
    change.set_gid = true;
    change.gid = gid;
  }
  // chown(2): a program's set-id bits go, even for root.
  if (!inode.is_directory() && !inode.is_symlink()) {
    const std::uint32_t before = inode.permissions();
    std::uint32_t after = before & ~kModeSetUid;
    if ((before & 0010) != 0) after &= ~kModeSetGid;
    if (after != before) {
      change.set_permissions = true;
      change.permissions = after;
    }
  }
  return inode.set_attributes(change);
}

Result<void> change_times(const Path& place, TimeChange accessed, TimeChange modified,
                          const Credentials& who) {
  using Kind = TimeChange::Kind;
  Inode& inode = place.inode();
  if (accessed.kind == Kind::kOmit && modified.kind == Kind::kOmit) return {};
  if (place.mount->is_read_only()) return fail(Errno::kEROFS);
  if (!inode.is_owner(who)) {
    // Whoever may write may set both to now, and nothing else.
    if (accessed.kind != Kind::kNow || modified.kind != Kind::kNow) return fail(Errno::kEPERM);
    TRY(inode.check_permission(who, kMayWrite));
  }
  const auto now = static_cast<FileTime>(port::realtime_ns());
  return inode.set_attributes({
      .set_accessed = accessed.kind != Kind::kOmit,
      .set_modified = modified.kind != Kind::kOmit,
      .accessed = accessed.kind == Kind::kNow ? now : accessed.time,
      .modified = modified.kind == Kind::kNow ? now : modified.time,
  });
}

Result<void> truncate(const Path& place, std::int64_t size_bytes, const Credentials& who) {
  Inode& inode = place.inode();
  if (size_bytes < 0) return fail(Errno::kEINVAL);
  if (inode.is_directory()) return fail(Errno::kEISDIR);
  if (!inode.is_regular()) return fail(Errno::kEINVAL);
  if (place.mount->is_read_only()) return fail(Errno::kEROFS);
  TRY(inode.check_permission(who, kMayWrite));
  TRY(inode.get_write_access());
  const Result<void> result = inode.resize(static_cast<std::uint64_t>(size_bytes));
  inode.put_write_access();
  if (result.has_value()) inode.drop_set_id(who);
  return result;
}

Result<String> read_link(const Path& place, const Credentials& who) {
  Inode& inode = place.inode();
  if (!inode.is_symlink()) return fail(Errno::kEINVAL);
  String text;
  TRY(inode.read_link(who, text));
  inode.touch_accessed();
  return text;
}

LinuxStatfs statistics(const Path& place) {
  const Superblock& superblock = place.mount->superblock();
  LinuxStatfs result = superblock.statistics();
  result.id[0] = static_cast<std::int32_t>(superblock.device());
  constexpr std::int64_t kValid = 0x20;                 // ST_VALID
  constexpr std::int64_t kRelativeAccessTime = 0x1000;  // ST_RELATIME
  constexpr std::uint64_t kSameBits =
      kMountReadOnly | kMountNoSuid | kMountNoDevices | kMountNoExec;
  result.flags =
      static_cast<std::int64_t>(place.mount->flags() & kSameBits) | kValid | kRelativeAccessTime;
  return result;
}

Result<void> check_directory_access(const Path& place, const Credentials& who) {
  if (!place.inode().is_directory()) return fail(Errno::kENOTDIR);
  return place.inode().check_permission(who, kMayExecute);
}

}  // namespace holstein::vfs
