// Path resolution as an object, so that open(O_CREAT) can go on after it looked at the last name.
// Private to fs/.
#pragma once

#include <string_view>

#include "fs/path.h"

namespace holstein {

// Walks a path component by component, without recursion: what is left of the text is kept in one
// string, in front of which the target of each symbolic link is put. Until there is one that string
// is the caller's, who keeps it for as long as the walk lives.
class Walker {
 public:
  explicit Walker(const PathContext& context) : context_(context) {}

  // ENOENT for an empty path.
  [[nodiscard]] Result<void> start(const Path* base, std::string_view path);

  // Goes on to the end of the text. `follow`: a symbolic link at the end is followed too.
  [[nodiscard]] Result<void> walk(bool follow);
  // Goes on to the directory of the last component, which is left in last() and was not looked at.
  [[nodiscard]] Result<void> walk_to_parent();
  // After walk_to_parent(): goes through the symbolic link `link`, found at last(). The walk is
  // then in front of its target's text (or at its end, for a magic link: at_end()).
  [[nodiscard]] Result<void> follow(const Path& link);

  Path& place() { return place_; }
  bool at_end() const { return text_.find_first_not_of('/', done_) == npos; }
  ParentPath::Last last_kind() const { return last_kind_; }
  // Valid until follow().
  std::string_view last() const { return last_; }
  bool trailing_slash() const { return trailing_slash_; }

 private:
  static constexpr auto npos = std::string_view::npos;

  std::string_view next_component();
  Result<void> check_search() const;
  Result<void> step(std::string_view name, bool follow_link);

  const PathContext& context_;
  Path place_;
  std::string_view text_;  // of which [done_, size) is left; the caller's or links_text_
  std::size_t done_ = 0;
  String links_text_;
  unsigned links_ = 0;
  ParentPath::Last last_kind_ = ParentPath::Last::kRoot;
  std::string_view last_;
  bool trailing_slash_ = false;
};

}  // namespace holstein
