// From a place in the tree back to the text of its path.
#include "fs/mount.h"
#include "fs/path.h"

namespace holstein {
namespace {

// One step up, mounts crossed without a component. False at the top.
bool step_up(Path& at, const Path& root) {
  while (true) {
    if (at == root) return false;
    if (at.dentry != at.mount->root()) {
      RefPtr<Dentry> above = at.dentry->parent();
      if (!above) return false;
      at.dentry = std::move(above);
      return true;
    }
    Path point = mount_table().point_of(*at.mount);
    if (!point) return false;
    at = std::move(point);
  }
}

// The root of `mount` counts as a name where something is mounted: the name is the mount point's.
Path name_giver(Path at, const Path& root) {
  while (!(at == root) && at.dentry == at.mount->root()) {
    Path point = mount_table().point_of(*at.mount);
    if (!point) break;
    at = std::move(point);
  }
  return at;
}

}  // namespace

bool is_reachable(const Path& place, const Path& root) {
  Path at = place;
  while (step_up(at, root)) {
  }
  return name_giver(at, root) == root;
}

Result<void> append_path(const Path& place, const Path& root, String& to) {
  if (place.dentry->is_placeless()) return place.dentry->append_name(to);
  // Collected from the end to the front, as reversed components.
  Vec<RefPtr<Dentry>> names;
  Path at = name_giver(place, root);
  while (!(at == root)) {
    const RefPtr<Dentry> here = at.dentry;
    if (!step_up(at, root)) break;
    TRY(names.push_back(here));
    at = name_giver(std::move(at), root);
  }
  if (!(at == root)) TRY(to.append("(unreachable)"));
  if (names.empty()) TRY(to.append("/"));
  while (!names.empty()) {
    TRY(to.append("/"));
    TRY(names.back()->append_name(to));
    names.pop_back();
  }
  if (place.dentry->is_removed()) TRY(to.append(" (deleted)"));
  return {};
}

}  // namespace holstein
