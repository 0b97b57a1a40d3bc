// The entries of one directory in memory: by name for lookups, by cookie for readdir.
#pragma once

#include <boost/intrusive/set.hpp>
#include <cstdint>
#include <string_view>

#include "fs/dentry.h"

namespace holstein {

// Owns one reference to each dentry in it. A dentry's name must not change while it is in a map.
// Invariant: both sets hold the same dentries, and cookies are unique and rise with insertion, so
// that a readdir that goes on from a cookie neither repeats nor skips what was there all the time.
// Locked by the directory's inode.
class DentryMap {
 public:
  DentryMap() = default;
  ~DentryMap() { HOLSTEIN_ASSERT(by_name_.empty()); }
  DentryMap(const DentryMap&) = delete;
  DentryMap& operator=(const DentryMap&) = delete;

  bool empty() const { return by_name_.empty(); }
  Dentry* find(std::string_view name) {
    const auto it = by_name_.find(name, DentryByName());
    return it == by_name_.end() ? nullptr : &*it;
  }
  // The name must be free.
  void insert(RefPtr<Dentry> dentry) {
    Dentry& entry = *dentry.leak();
    entry.cookie = next_cookie_++;
    const bool inserted = by_name_.insert(entry).second;
    HOLSTEIN_ASSERT(inserted);
    by_cookie_.insert(by_cookie_.end(), entry);
  }
  // Gives the map's reference to the caller.
  RefPtr<Dentry> take(Dentry& dentry) {
    by_name_.erase(by_name_.iterator_to(dentry));
    by_cookie_.erase(by_cookie_.iterator_to(dentry));
    return RefPtr<Dentry>::adopt(&dentry);
  }
  // The first entry with a cookie of at least `cookie`, or null.
  Dentry* at_or_after(std::uint64_t cookie) {
    const auto it = by_cookie_.lower_bound(cookie, DentryByCookie());
    return it == by_cookie_.end() ? nullptr : &*it;
  }

 private:
  using ByName = boost::intrusive::set<
      Dentry,
      boost::intrusive::member_hook<Dentry, boost::intrusive::set_member_hook<>, &Dentry::by_name>,
      boost::intrusive::compare<DentryByName>, boost::intrusive::constant_time_size<false>>;
  using ByCookie = boost::intrusive::set<
      Dentry,
      boost::intrusive::member_hook<Dentry, boost::intrusive::set_member_hook<>,
                                    &Dentry::by_cookie>,
      boost::intrusive::compare<DentryByCookie>, boost::intrusive::constant_time_size<false>>;

  ByName by_name_;
  ByCookie by_cookie_;
  std::uint64_t next_cookie_ = 0;
};

}  // namespace holstein
