// /proc/<pid>/mounts and mountinfo.
#include "fs/mount.h"
#include "fs/path.h"
#include "fs/procfs_nodes.h"

namespace holstein {
namespace {

// Paths stand between blanks: those in them are written as octal escapes.
Result<void> append_escaped(std::string_view text, String& to) {
  for (const char character : text) {
    if (character == ' ' || character == '\t' || character == '\n' || character == '\\') {
      TRY(append_format(to, "\\%03o", static_cast<unsigned>(character)));
    } else {
      TRY(to.append({&character, 1}));
    }
  }
  return {};
}

Result<void> append_place(const Path& place, const Path& root, String& to) {
  String text;
  TRY(append_path(place, root, text));
  return append_escaped(text.view(), to);
}

Result<void> append_flags(const Mount& mount, String& to) {
  TRY(to.append(mount.is_read_only() ? "ro" : "rw"));
  if ((mount.flags() & kMountNoSuid) != 0) TRY(to.append(",nosuid"));
  if ((mount.flags() & kMountNoDevices) != 0) TRY(to.append(",nodev"));
  if ((mount.flags() & kMountNoExec) != 0) TRY(to.append(",noexec"));
  return to.append(",relatime");
}

// Where the mount is seen: its root directory as a place.
Path top_of(const RefPtr<Mount>& mount) { return {mount, mount->root()}; }

Result<void> append_mount(const RefPtr<Mount>& mount, const Path& root, String& to) {
  TRY(append_escaped(mount->source(), to));
  TRY(to.append(" "));
  TRY(append_place(top_of(mount), root, to));
  TRY(append_format(to, " %s ", mount->superblock().type_name()));
  TRY(append_flags(*mount, to));
  TRY(mount->superblock().append_options(to));
  return to.append(" 0 0\n");
}

Result<void> append_mountinfo(const RefPtr<Mount>& mount, const Path& root, String& to) {
  using Long = unsigned long long;
  const Path point = mount_table().point_of(*mount);
  const std::uint64_t parent = point ? point.mount->id() : mount->id();
  const std::uint64_t device = mount->superblock().device();
  TRY(append_format(to, "%llu %llu %u:%u ", static_cast<Long>(mount->id()),
                    static_cast<Long>(parent), device_major(device), device_minor(device)));
  // The part of the file system that is seen: its root, or what a bind mount shows.
  String shown;
  for (RefPtr<Dentry> at = mount->root(); at; at = at->parent()) {
    if (!at->parent()) break;
    String longer;
    TRY(longer.append("/"));
    TRY(at->append_name(longer));
    TRY(longer.append(shown.view()));
    shown = std::move(longer);
  }
  TRY(append_escaped(shown.empty() ? std::string_view("/") : shown.view(), to));
  TRY(to.append(" "));
  TRY(append_place(top_of(mount), root, to));
  TRY(to.append(" "));
  TRY(append_flags(*mount, to));
  TRY(append_format(to, " - %s ", mount->superblock().type_name()));
  TRY(append_escaped(mount->source(), to));
  TRY(to.append(mount->is_read_only() ? " ro" : " rw"));
  TRY(mount->superblock().append_options(to));
  return to.append("\n");
}

template <class Append>
Result<void> append_each(ProcessView& process, String& to, Append append) {
  TRY_ASSIGN(const Path root, process.root_directory());
  for (RefPtr<Mount> mount = mount_table().next(nullptr); mount;
       mount = mount_table().next(mount.get())) {
    if (is_reachable(top_of(mount), root)) TRY(append(mount, root, to));
  }
  return {};
}

}  // namespace

Result<void> generate_mounts(ProcessView& process, String& to) {
  return append_each(process, to, append_mount);
}

Result<void> generate_mountinfo(ProcessView& process, String& to) {
  return append_each(process, to, append_mountinfo);
}

}  // namespace holstein
