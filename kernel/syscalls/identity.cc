// Users, groups and capabilities.
#include "kernel/syscalls/handlers.h"
#include "proc/credentials.h"

namespace holstein {

SystemCallResult sys_getuid() { return current_identity().uid; }
SystemCallResult sys_geteuid() { return current_identity().euid; }
SystemCallResult sys_getgid() { return current_identity().gid; }
SystemCallResult sys_getegid() { return current_identity().egid; }
SystemCallResult sys_setuid(std::uint32_t uid) { return done(set_uid(uid)); }
SystemCallResult sys_setgid(std::uint32_t gid) { return done(set_gid(gid)); }
SystemCallResult sys_setreuid(std::uint32_t ruid, std::uint32_t euid) {
  return done(set_reuid(ruid, euid));
}
SystemCallResult sys_setregid(std::uint32_t rgid, std::uint32_t egid) {
  return done(set_regid(rgid, egid));
}
SystemCallResult sys_setresuid(std::uint32_t ruid, std::uint32_t euid, std::uint32_t suid) {
  return done(set_resuid(ruid, euid, suid));
}
SystemCallResult sys_setresgid(std::uint32_t rgid, std::uint32_t egid, std::uint32_t sgid) {
  return done(set_resgid(rgid, egid, sgid));
}
SystemCallResult sys_setfsuid(std::uint32_t uid) { return set_fsuid(uid); }
SystemCallResult sys_setfsgid(std::uint32_t gid) { return set_fsgid(gid); }

SystemCallResult sys_getresuid(UserOut<std::uint32_t> ruid, UserOut<std::uint32_t> euid,
                               UserOut<std::uint32_t> suid) {
  const Identity& identity = current_identity();
  TRY(ruid.put(identity.uid));
  TRY(euid.put(identity.euid));
  return done(suid.put(identity.suid));
}
SystemCallResult sys_getresgid(UserOut<std::uint32_t> rgid, UserOut<std::uint32_t> egid,
                               UserOut<std::uint32_t> sgid) {
  const Identity& identity = current_identity();
  TRY(rgid.put(identity.gid));
  TRY(egid.put(identity.egid));
  return done(sgid.put(identity.sgid));
}

// The number of groups comes before the array here, so it is no UserSpan.
SystemCallResult sys_getgroups(std::int32_t count, UserOut<std::uint32_t> to) {
  const std::span<const Gid> groups = current_identity().groups.span();
  if (count < 0) {
    return fail(Errno::kEINVAL);
  }
  if (count != 0) {
    if (groups.size() > static_cast<std::size_t>(count)) {
      return fail(Errno::kEINVAL);
    }
    TRY(to.span(groups.size()).copy_out(groups));
  }
  return static_cast<std::int64_t>(groups.size());
}
SystemCallResult sys_setgroups(std::uint32_t count, UserIn<std::uint32_t> from) {
  TRY(require_capability(Capability::kSetGid));
  if (count > kMaxGroups) {
    return fail(Errno::kEINVAL);
  }
  Vec<Gid> groups;
  TRY(groups.resize(count));
  TRY(from.span(count).copy_in(groups.span()));
  return done(set_groups(groups.span()));
}

namespace {

// capget(2)'s versions and how many LinuxCapabilityData each has.
constexpr std::uint32_t kVersion1 = 0x19980330;
constexpr std::uint32_t kVersion2 = 0x20071026;
constexpr std::uint32_t kVersion3 = 0x20080522;
std::size_t words_of_version(std::uint32_t version) {
  return version == kVersion1 ? 1 : version == kVersion2 || version == kVersion3 ? 2 : 0;
}

std::uint32_t word(CapabilitySet set, std::size_t index) {
  return static_cast<std::uint32_t>(set >> (32 * index));
}

}  // namespace

SystemCallResult sys_capget(UserInOut<LinuxCapabilityHeader> header,
                            UserOut<LinuxCapabilityData> to) {
  TRY_ASSIGN(LinuxCapabilityHeader wanted, header.get());
  const std::size_t words = words_of_version(wanted.version);
  if (words == 0) {
    wanted.version = kVersion3;
    TRY(header.put(wanted));
    // With a null data pointer this asks for the version, and is no error.
    if (to.is_null()) {
      return 0;
    }
    return fail(Errno::kEINVAL);
  }
  if (wanted.pid < 0) {
    return fail(Errno::kEINVAL);
  }
  TRY_ASSIGN(const CapabilitySets sets, get_capabilities(wanted.pid));
  if (to.is_null()) {
    return 0;
  }
  LinuxCapabilityData data[2];
  for (std::size_t i = 0; i < 2; ++i) {
    data[i] = {.effective = word(sets.effective, i),
               .permitted = word(sets.permitted, i),
               .inheritable = word(sets.inheritable, i)};
  }
  return done(to.span(words).copy_out(std::span<const LinuxCapabilityData>(data).first(words)));
}

SystemCallResult sys_capset(UserInOut<LinuxCapabilityHeader> header,
                            UserIn<LinuxCapabilityData> from) {
  TRY_ASSIGN(LinuxCapabilityHeader wanted, header.get());
  const std::size_t words = words_of_version(wanted.version);
  if (words == 0) {
    wanted.version = kVersion3;
    TRY(header.put(wanted));
    return fail(Errno::kEINVAL);
  }
  if (wanted.pid != 0 && wanted.pid != current_thread().tid()) {
    return fail(Errno::kEPERM);
  }
  LinuxCapabilityData data[2] = {};
  TRY(from.span(words).copy_in(std::span<LinuxCapabilityData>(data).first(words)));
  CapabilitySets sets;
  for (std::size_t i = 0; i < 2; ++i) {
    sets.effective |= CapabilitySet{data[i].effective} << (32 * i);
    sets.permitted |= CapabilitySet{data[i].permitted} << (32 * i);
    sets.inheritable |= CapabilitySet{data[i].inheritable} << (32 * i);
  }
  return done(set_capabilities(wanted.pid, sets));
}

}  // namespace holstein
