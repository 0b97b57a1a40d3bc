#include "fs/path.h"

#include <algorithm>

#include "fs/mount.h"
#include "fs/walker.h"

namespace holstein {

Path cross_mounts(Path place) {
  while (true) {
    RefPtr<Mount> mount = mount_table().mounted_at(place);
    if (!mount) return place;
    place.dentry = mount->root();
    place.mount = std::move(mount);
  }
}

Path parent_of(const Path& place, const Path& root) {
  Path at = place;
  while (!(at == root)) {
    if (at.dentry != at.mount->root()) {
      RefPtr<Dentry> above = at.dentry->parent();
      if (above) return cross_mounts({at.mount, std::move(above)});
      return at;  // the root of something that is mounted nowhere
    }
    Path point = mount_table().point_of(*at.mount);
    if (!point) return at;
    at = std::move(point);
  }
  return at;
}

namespace {

Result<RefPtr<Dentry>> find_in(Dentry& directory, std::string_view name) {
  Inode& inode = directory.inode();
  MutexGuard guard(inode.lock);
  return inode.lookup(directory, name);
}

}  // namespace

Result<Path> lookup_child(const Path& directory, std::string_view name) {
  TRY_ASSIGN(RefPtr<Dentry> child, find_in(*directory.dentry, name));
  return cross_mounts({directory.mount, std::move(child)});
}

Result<void> Walker::start(const Path* base, std::string_view path) {
  if (path.empty()) return fail(Errno::kENOENT);
  if (path.size() >= kMaxPathBytes) return fail(Errno::kENAMETOOLONG);
  text_ = path;
  place_ = path.front() == '/' ? context_.root : base != nullptr ? *base : context_.cwd;
  return {};
}

std::string_view Walker::next_component() {
  const std::size_t begin = text_.find_first_not_of('/', done_);
  if (begin == npos) {
    done_ = text_.size();
    return {};
  }
  const std::size_t end = std::min(text_.find('/', begin), text_.size());
  done_ = end;
  return text_.substr(begin, end - begin);
}

Result<void> Walker::check_search() const {
  Inode& inode = place_.inode();
  if (!inode.is_directory()) return fail(Errno::kENOTDIR);
  return inode.check_permission(context_.credentials, kMayExecute);
}

// `name` points into text_, which follow() replaces: not used after that.
Result<void> Walker::step(std::string_view name, bool follow_link) {
  TRY(check_search());
  if (name == ".") return {};
  if (name == "..") {
    place_ = parent_of(place_, context_.root);
    return {};
  }
  TRY_ASSIGN(RefPtr<Dentry> child, find_in(*place_.dentry, name));
  if (!child->is_mount_point() && !(follow_link && child->inode().is_symlink())) {
    place_.dentry = std::move(child);  // on the same mount
    return {};
  }
  Path place = cross_mounts({place_.mount, std::move(child)});
  if (follow_link && place.inode().is_symlink()) return follow(place);
  place_ = std::move(place);
  return {};
}

Result<void> Walker::follow(const Path& link) {
  if (++links_ > kMaxSymlinks) return fail(Errno::kELOOP);
  Inode& inode = link.inode();
  if (inode.is_magic_link()) {
    TRY_ASSIGN(place_, inode.follow_magic_link(context_.credentials));
    return {};
  }
  String text;
  TRY(inode.read_link(context_.credentials, text));
  inode.touch_accessed();
  if (text.empty()) return fail(Errno::kENOENT);
  const bool absolute = text.view().front() == '/';
  TRY(text.append(text_.substr(done_)));
  links_text_ = std::move(text);
  text_ = links_text_.view();
  done_ = 0;
  if (absolute) place_ = context_.root;
  return {};
}

Result<void> Walker::walk(bool follow_last) {
  while (true) {
    const std::string_view name = next_component();
    if (name.empty()) break;
    // A slash behind the last name asks for what the link leads to.
    const bool is_last = done_ == text_.size();
    TRY(step(name, follow_last || !is_last));
  }
  if (!text_.empty() && text_.back() == '/' && !place_.inode().is_directory()) {
    return fail(Errno::kENOTDIR);
  }
  return {};
}

Result<void> Walker::walk_to_parent() {
  last_kind_ = ParentPath::Last::kRoot;
  last_ = {};
  trailing_slash_ = false;
  while (true) {
    const std::string_view name = next_component();
    if (name.empty()) return {};
    if (!at_end()) {
      TRY(step(name, true));
      continue;
    }
    TRY(check_search());
    trailing_slash_ = done_ != text_.size();
    last_kind_ = name == "."    ? ParentPath::Last::kDot
                 : name == ".." ? ParentPath::Last::kDotDot
                                : ParentPath::Last::kName;
    last_ = name;
    return {};
  }
}

Result<Path> resolve(const PathContext& context, const Path* base, std::string_view path,
                     std::uint32_t flags) {
  if (path.empty() && (flags & kResolveEmpty) != 0) {
    const Path& place = base != nullptr ? *base : context.cwd;
    if ((flags & kResolveDirectory) != 0 && !place.inode().is_directory()) {
      return fail(Errno::kENOTDIR);
    }
    return place;
  }
  Walker walker(context);
  TRY(walker.start(base, path));
  TRY(walker.walk((flags & kResolveFollow) != 0));
  if ((flags & kResolveDirectory) != 0 && !walker.place().inode().is_directory()) {
    return fail(Errno::kENOTDIR);
  }
  return std::move(walker.place());
}

Result<ParentPath> resolve_parent(const PathContext& context, const Path* base,
                                  std::string_view path) {
  Walker walker(context);
  TRY(walker.start(base, path));
  TRY(walker.walk_to_parent());
  ParentPath result;
  result.directory = walker.place();
  result.last = walker.last_kind();
  result.trailing_slash = walker.trailing_slash();
  TRY_ASSIGN(result.name, String::from(walker.last()));
  return result;
}

}  // namespace holstein
