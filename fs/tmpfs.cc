#include "fs/tmpfs.h"

#include <algorithm>
#include <new>

#include "fs/device.h"
#include "fs/tmpfs_inodes.h"
#include "lib/format.h"
#include "vm/frame.h"

namespace holstein {
namespace {

TmpfsSuperblock& tmpfs_of(const Inode& inode) {
  return static_cast<TmpfsSuperblock&>(inode.superblock());
}

}  // namespace

// ---- Superblock
// ------------------------------------------------------------------------------------

LinuxStatfs TmpfsSuperblock::statistics() const {
  LinuxStatfs result{};
  result.type = kTmpfsMagic;
  result.block_size = result.fragment_size = static_cast<std::int64_t>(kPageSize);
  result.name_length = kMaxNameBytes;
  frame_stats_t frames{};
  frame_get_stats(&frames);
  const std::uint64_t used = budget_->used_pages();
  if (const std::uint64_t limit = budget_->limit_pages(); limit != 0) {
    result.blocks = limit;
    result.blocks_free = limit > used ? limit - used : 0;
  } else {
    result.blocks = frames.total_frames;
    result.blocks_free = frames.free_frames;
  }
  result.blocks_available = result.blocks_free;
  const std::uint64_t inodes = inodes_.load(std::memory_order_relaxed);
  result.files = max_inodes() != 0 ? max_inodes() : frames.total_frames;
  result.files_free = result.files > inodes ? result.files - inodes : 0;
  return result;
}

Result<void> TmpfsSuperblock::append_options(String& to) const {
  char text[96];
  if (const std::uint64_t limit = budget_->limit_pages(); limit != 0) {
    constexpr std::uint64_t kKibPerPage = kPageSize / 1024;
    TRY(to.append(
        format_to(text, ",size=%lluk", static_cast<unsigned long long>(limit * kKibPerPage))));
  }
  if (max_inodes() != 0) {
    TRY(to.append(
        format_to(text, ",nr_inodes=%llu", static_cast<unsigned long long>(max_inodes()))));
  }
  if (options_.permissions != 01777) {
    TRY(to.append(format_to(text, ",mode=%03o", options_.permissions)));
  }
  if (options_.uid != 0) TRY(to.append(format_to(text, ",uid=%u", options_.uid)));
  if (options_.gid != 0) TRY(to.append(format_to(text, ",gid=%u", options_.gid)));
  return {};
}

// Only the limits can be changed, and not to less than is there.
Result<void> TmpfsSuperblock::remount(std::string_view text) {
  TmpfsOptions current = options_;
  current.max_pages = budget_->limit_pages();
  current.max_inodes = max_inodes();
  TRY_ASSIGN(const TmpfsOptions wanted, parse_tmpfs_options(text, current));
  if ((wanted.max_pages != 0 && wanted.max_pages < budget_->used_pages()) ||
      (wanted.max_inodes != 0 && wanted.max_inodes < inodes_.load(std::memory_order_relaxed))) {
    return fail(Errno::kEINVAL);
  }
  budget_->set_limit(wanted.max_pages);
  max_inodes_.store(wanted.max_inodes, std::memory_order_relaxed);
  return {};
}

// Takes the tree apart from its leaves, without recursion: directories hold their entries and
// entries hold the directory above them.
void TmpfsSuperblock::shut_down() {
  RefPtr<Dentry> at = std::move(root_);
  if (!at) return;
  const RefPtr<Dentry> root = at;
  while (true) {
    auto& directory = static_cast<TmpfsDirectory&>(at->inode());
    RefPtr<Dentry> child = directory.peek_any();
    if (!child) {
      if (at == root) return;
      RefPtr<Dentry> above = at->parent();
      static_cast<TmpfsDirectory&>(above->inode()).drop(*at);
      at = std::move(above);
    } else if (child->inode().is_directory()) {
      at = std::move(child);
    } else {
      directory.drop(*child);
    }
  }
}

Result<void> TmpfsSuperblock::add_inode() {
  const std::uint64_t before = inodes_.fetch_add(1, std::memory_order_relaxed);
  if (max_inodes() != 0 && before >= max_inodes()) {
    remove_inode();
    return fail(Errno::kENOSPC);
  }
  return {};
}

// ---- Symbolic links, special files
// -----------------------------------------------------------------

TmpfsSymlink::TmpfsSymlink(TmpfsSuperblock& superblock, String target)
    : Inode(superblock, FileType::kSymlink, superblock.next_inode_number()),
      target_(std::move(target)) {}
TmpfsSymlink::~TmpfsSymlink() { tmpfs_of(*this).remove_inode(); }

Attributes TmpfsSymlink::attributes() const {
  Attributes result = Inode::attributes();
  result.size_bytes = target_.size();
  return result;
}

Result<void> TmpfsSymlink::read_link(const Credentials&, String& target) {
  return target.append(target_.view());
}

TmpfsSpecial::TmpfsSpecial(TmpfsSuperblock& superblock, FileType type)
    : Inode(superblock, type, superblock.next_inode_number()) {}
TmpfsSpecial::~TmpfsSpecial() { tmpfs_of(*this).remove_inode(); }

Result<RefPtr<File>> TmpfsSpecial::open(const Path& path, std::uint32_t flags, const Credentials&) {
  if (type() == FileType::kFifo) {
    RefPtr<Pipe> pipe;
    {
      MutexGuard guard(lock);
      if (!pipe_) {
        TRY_ASSIGN(pipe_, Pipe::create());
      }
      pipe = pipe_;
    }
    return open_fifo(std::move(pipe), path, flags);
  }
  if (type() == FileType::kCharacterDevice) {
    CharacterDevice* device = find_character_device(special_device());
    if (device != nullptr) return device->open(path, flags, special_device());
  }
  return fail(Errno::kENXIO);
}

// ---- Mounting
// --------------------------------------------------------------------------------------

namespace {

bool parse_number(std::string_view text, unsigned base, std::uint64_t& value) {
  if (text.empty()) return false;
  value = 0;
  for (const char character : text) {
    const auto digit = static_cast<unsigned>(character - '0');
    if (digit >= base) return false;
    if (__builtin_mul_overflow(value, base, &value) ||
        __builtin_add_overflow(value, digit, &value)) {
      return false;
    }
  }
  return true;
}

// "64m", "50%": bytes; a percentage is one of all memory.
bool parse_size(std::string_view text, std::uint64_t& bytes) {
  if (text.empty()) return false;
  const char last = text.back();
  if (last == '%') {
    if (!parse_number(text.substr(0, text.size() - 1), 10, bytes) || bytes > 100) return false;
    bytes = frame_get_usable_memory() / 100 * bytes;
    return true;
  }
  unsigned shift = 0;
  switch (last | 0x20) {
    case 'k':
      shift = 10;
      break;
    case 'm':
      shift = 20;
      break;
    case 'g':
      shift = 30;
      break;
    default:
      break;
  }
  if (shift != 0) text.remove_suffix(1);
  if (!parse_number(text, 10, bytes) || bytes > UINT64_MAX >> shift) return false;
  bytes <<= shift;
  return true;
}

bool parse_option(std::string_view key, std::string_view value, TmpfsOptions& options) {
  std::uint64_t number = 0;
  if (key == "size") {
    if (!parse_size(value, number)) return false;
    options.max_pages = number / kPageSize + (number % kPageSize != 0 ? 1 : 0);
    return true;
  }
  if (key == "nr_blocks") {
    if (!parse_size(value, number)) return false;
    options.max_pages = number;
    return true;
  }
  if (key == "nr_inodes") return parse_size(value, options.max_inodes);
  if (key == "mode") {
    if (!parse_number(value, 8, number) || number > kModePermissions) return false;
    options.permissions = static_cast<std::uint32_t>(number);
    return true;
  }
  if (key == "uid" || key == "gid") {
    if (!parse_number(value, 10, number) || number >= UINT32_MAX) return false;
    (key == "uid" ? options.uid : options.gid) = static_cast<std::uint32_t>(number);
    return true;
  }
  return false;
}

}  // namespace

TmpfsOptions default_tmpfs_options() {
  const std::uint64_t half = frame_get_usable_memory() / kPageSize / 2;
  return {.max_pages = half, .max_inodes = half};
}

Result<TmpfsOptions> parse_tmpfs_options(std::string_view text, TmpfsOptions options) {
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view option = text.substr(0, comma);
    text.remove_prefix(comma < text.size() ? comma + 1 : comma);
    if (option.empty()) continue;
    const std::size_t equals = std::min(option.find('='), option.size());
    const std::string_view value =
        equals < option.size() ? option.substr(equals + 1) : std::string_view();
    if (!parse_option(option.substr(0, equals), value, options)) return fail(Errno::kEINVAL);
  }
  return options;
}

Result<RefPtr<Mount>> make_tmpfs(const char* type_name, const TmpfsOptions& options,
                                 std::string_view source) {
  TRY_ASSIGN(RefPtr<PageBudget> budget, PageBudget::create(options.max_pages));
  auto superblock = RefPtr<TmpfsSuperblock>::adopt(
      new (std::nothrow) TmpfsSuperblock(type_name, options, std::move(budget)));
  if (!superblock) return fail(Errno::kENOMEM);
  TRY(superblock->add_inode());
  auto directory = RefPtr<TmpfsDirectory>::adopt(new (std::nothrow) TmpfsDirectory(*superblock));
  if (!directory) return fail(Errno::kENOMEM);
  directory->initialise(options.permissions, options.uid, options.gid, 2);
  TRY_ASSIGN(RefPtr<Dentry> root, Dentry::create(nullptr, "", std::move(directory)));
  TRY_ASSIGN(RefPtr<Mount> mount, Mount::create(superblock, root, 0, source));
  superblock->set_root(std::move(root));
  return mount;
}

void tmpfs_limit_growth(Mount& mount) {
  PageBudget& budget = static_cast<TmpfsSuperblock&>(mount.superblock()).budget();
  const std::uint64_t all = frame_get_usable_memory() / kPageSize;
  const std::uint64_t used = std::min(budget.used_pages(), all);
  budget.set_limit(used + (all - used) / 2);
}

Result<RefPtr<Dentry>> tmpfs_create(Dentry& directory, std::string_view name,
                                    const CreateRequest& request) {
  Inode& inode = directory.inode();
  MutexGuard guard(inode.lock);
  if (inode.lookup(directory, name).has_value()) return fail(Errno::kEEXIST);
  return inode.create(directory, name, request);
}

Result<RefPtr<Dentry>> tmpfs_insert(Dentry& directory, std::string_view name, RefPtr<Inode> inode) {
  auto& parent = static_cast<TmpfsDirectory&>(directory.inode());
  MutexGuard guard(parent.lock);
  if (parent.lookup(directory, name).has_value()) return fail(Errno::kEEXIST);
  return parent.insert(directory, name, std::move(inode));
}

}  // namespace holstein
