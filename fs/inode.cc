#include "fs/inode.h"

#include "fs/file.h"
#include "fs/locks.h"
#include "fs/mount.h"
#include "lib/clock_port.h"

namespace holstein {
namespace {

constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr std::int64_t kRelativeAccessAge = 24 * 3600 * kNanosecondsPerSecond;

FileTime now() { return static_cast<FileTime>(port::realtime_ns()); }

// Seconds rounded down, so that times before 1970 keep nanoseconds of 0 to 999999999.
std::uint64_t seconds_of(FileTime time) {
  std::int64_t seconds = time / kNanosecondsPerSecond;
  if (time % kNanosecondsPerSecond < 0) --seconds;
  return static_cast<std::uint64_t>(seconds);
}
std::uint64_t nanoseconds_of(FileTime time) {
  const std::int64_t rest = time % kNanosecondsPerSecond;
  return static_cast<std::uint64_t>(rest < 0 ? rest + kNanosecondsPerSecond : rest);
}

}  // namespace

LinuxStat Attributes::to_stat() const {
  LinuxStat stat{};
  stat.device = device;
  stat.inode = inode;
  stat.links = links;
  stat.mode = mode();
  stat.uid = uid;
  stat.gid = gid;
  stat.special_device = special_device;
  stat.size = static_cast<std::int64_t>(size_bytes);
  stat.block_size = block_size;
  stat.blocks = static_cast<std::int64_t>(blocks);
  stat.access_seconds = seconds_of(accessed);
  stat.access_nanoseconds = nanoseconds_of(accessed);
  stat.modify_seconds = seconds_of(modified);
  stat.modify_nanoseconds = nanoseconds_of(modified);
  stat.change_seconds = seconds_of(changed);
  stat.change_nanoseconds = nanoseconds_of(changed);
  return stat;
}

Inode::Inode(Superblock& superblock, FileType type, std::uint64_t number)
    : superblock_(&superblock), type_(type), number_(number) {}

Inode::~Inode() { delete locks_.load(std::memory_order_relaxed); }

void Inode::initialise(std::uint32_t permissions, std::uint32_t uid, std::uint32_t gid,
                       std::uint32_t links, std::uint64_t special_device) {
  special_device_ = special_device;
  const FileTime time = now();
  SpinGuard guard(metadata_lock_);
  metadata_ = {.permissions = permissions & kModePermissions,
               .uid = uid,
               .gid = gid,
               .links = links,
               .accessed = time,
               .modified = time,
               .changed = time,
               .created = time};
}

Attributes Inode::attributes() const {
  Attributes result;
  result.device = superblock_->device();
  result.inode = number_;
  result.type = type_;
  result.special_device = special_device_;
  SpinGuard guard(metadata_lock_);
  result.permissions = metadata_.permissions;
  result.uid = metadata_.uid;
  result.gid = metadata_.gid;
  result.links = metadata_.links;
  result.accessed = metadata_.accessed;
  result.modified = metadata_.modified;
  result.changed = metadata_.changed;
  result.created = metadata_.created;
  return result;
}

Result<void> Inode::set_attributes(const AttributeChange& change) {
  const FileTime time = now();
  SpinGuard guard(metadata_lock_);
  if (change.set_permissions) metadata_.permissions = change.permissions & kModePermissions;
  if (change.set_uid) metadata_.uid = change.uid;
  if (change.set_gid) metadata_.gid = change.gid;
  if (change.set_accessed) metadata_.accessed = change.accessed;
  if (change.set_modified) metadata_.modified = change.modified;
  metadata_.changed = time;
  return {};
}

// path_resolution(7) and capabilities(7): the first class that fits decides, then capabilities.
Result<void> Inode::check_permission(const Credentials& who, std::uint32_t wanted) const {
  std::uint32_t bits = 0;
  {
    SpinGuard guard(metadata_lock_);
    bits = metadata_.permissions;
    if (who.uid == metadata_.uid) {
      bits >>= 6;
    } else if (who.in_group(metadata_.gid)) {
      bits >>= 3;
    }
    if ((wanted & ~bits & 7) == 0) return {};
    bits = metadata_.permissions;
  }
  if (is_directory()) {
    if (who.has(Capability::kDacOverride)) return {};
    if ((wanted & kMayWrite) == 0 && who.has(Capability::kDacReadSearch)) return {};
    return fail(Errno::kEACCES);
  }
  if (wanted == kMayRead && who.has(Capability::kDacReadSearch)) return {};
  // Even root may execute only what somebody may.
  const bool execution_allowed = (wanted & kMayExecute) == 0 || (bits & 0111) != 0;
  if (execution_allowed && who.has(Capability::kDacOverride)) return {};
  return fail(Errno::kEACCES);
}

bool Inode::is_owner(const Credentials& who) const {
  return who.uid == uid() || who.has(Capability::kFowner);
}

std::uint32_t Inode::permissions() const {
  SpinGuard guard(metadata_lock_);
  return metadata_.permissions;
}
std::uint32_t Inode::uid() const {
  SpinGuard guard(metadata_lock_);
  return metadata_.uid;
}
std::uint32_t Inode::gid() const {
  SpinGuard guard(metadata_lock_);
  return metadata_.gid;
}
std::uint32_t Inode::links() const {
  SpinGuard guard(metadata_lock_);
  return metadata_.links;
}

void Inode::touch_accessed() {
  const FileTime time = now();
  SpinGuard guard(metadata_lock_);
  if (metadata_.accessed <= metadata_.modified || metadata_.accessed <= metadata_.changed ||
      time - metadata_.accessed >= kRelativeAccessAge) {
    metadata_.accessed = time;
  }
}
void Inode::touch_modified() {
  const FileTime time = now();
  SpinGuard guard(metadata_lock_);
  metadata_.modified = metadata_.changed = time;
}
void Inode::touch_changed() {
  const FileTime time = now();
  SpinGuard guard(metadata_lock_);
  metadata_.changed = time;
}

void Inode::drop_set_id(const Credentials& who) {
  if (!is_regular() || who.has(Capability::kFsetid)) return;
  SpinGuard guard(metadata_lock_);
  metadata_.permissions &= ~kModeSetUid;
  // Without group execution the bit means mandatory locking and stays.
  if ((metadata_.permissions & 0010) != 0) metadata_.permissions &= ~kModeSetGid;
}

void Inode::add_links(std::int32_t difference) {
  SpinGuard guard(metadata_lock_);
  metadata_.links += static_cast<std::uint32_t>(difference);
}

void Inode::set_modified_time(FileTime time) {
  SpinGuard guard(metadata_lock_);
  metadata_.accessed = metadata_.modified = time;
}

// ---- What a kind of file does not bring
// ----------------------------------------------------------

Result<RefPtr<Dentry>> Inode::lookup(Dentry&, std::string_view) { return fail(Errno::kENOTDIR); }
Result<RefPtr<Dentry>> Inode::create(Dentry&, std::string_view, const CreateRequest&) {
  return fail(Errno::kEPERM);
}
Result<RefPtr<Dentry>> Inode::create_unnamed(Dentry&, const CreateRequest&) {
  return fail(Errno::kEOPNOTSUPP);
}
Result<RefPtr<Dentry>> Inode::link(Dentry&, std::string_view, Inode&) {
  return fail(Errno::kEPERM);
}
Result<void> Inode::remove(Dentry&, Dentry&) { return fail(Errno::kEPERM); }
Result<void> Inode::rename(Dentry&, Dentry&, Dentry&, std::string_view, Dentry*, bool) {
  return fail(Errno::kEPERM);
}
Result<void> Inode::read_directory(Dentry&, DirectorySink&, std::uint64_t&) {
  return fail(Errno::kENOTDIR);
}
Result<void> Inode::read_link(const Credentials&, String&) { return fail(Errno::kEINVAL); }
Result<Path> Inode::follow_magic_link(const Credentials&) { return fail(Errno::kELOOP); }
Result<RefPtr<File>> Inode::open(const Path&, std::uint32_t, const Credentials&) {
  return fail(Errno::kENXIO);
}
Result<void> Inode::resize(std::uint64_t) { return fail(Errno::kEINVAL); }

// ---- ETXTBSY
// ---------------------------------------------------------------------------------------

namespace {

// Moves a counter by `step` unless it stands on the other side of 0.
Result<void> count(std::atomic<std::int32_t>& counter, std::int32_t step) {
  std::int32_t value = counter.load(std::memory_order_relaxed);
  do {
    if (step > 0 ? value < 0 : value > 0) return fail(Errno::kETXTBSY);
  } while (!counter.compare_exchange_weak(value, value + step, std::memory_order_acq_rel));
  return {};
}

}  // namespace

Result<void> Inode::get_write_access() { return count(writers_, 1); }
void Inode::put_write_access() {
  const std::int32_t before = writers_.fetch_sub(1, std::memory_order_acq_rel);
  HOLSTEIN_ASSERT(before > 0);
}
Result<void> Inode::deny_write_access() { return count(writers_, -1); }
void Inode::allow_write_access() {
  const std::int32_t before = writers_.fetch_add(1, std::memory_order_acq_rel);
  HOLSTEIN_ASSERT(before < 0);
}

Result<FileLocks*> Inode::locks() {
  FileLocks* existing = locks_.load(std::memory_order_acquire);
  if (existing != nullptr) return existing;
  auto* made = new (std::nothrow) FileLocks;
  if (made == nullptr) return fail(Errno::kENOLCK);
  if (!locks_.compare_exchange_strong(existing, made, std::memory_order_acq_rel)) {
    delete made;
    return existing;
  }
  return made;
}

}  // namespace holstein
