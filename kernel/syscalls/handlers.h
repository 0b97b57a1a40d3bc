// Every handler of the table, by topic. Their parameter types describe the arguments (arguments.h);
// what each call does is in section 2 of the Linux manual, deviations are noted at the definition.
#pragma once

#include "fs/abi.h"
#include "kernel/syscalls/abi.h"
#include "kernel/syscalls/common.h"
#include "uaccess/iovec.h"

namespace holstein {

// ---- files.cc ----
SystemCallResult sys_read(FileDescriptor descriptor, UserBytesOut buffer);
SystemCallResult sys_write(FileDescriptor descriptor, UserBytesIn buffer);
SystemCallResult sys_pread64(FileDescriptor descriptor, UserBytesOut buffer, std::int64_t offset);
SystemCallResult sys_pwrite64(FileDescriptor descriptor, UserBytesIn buffer, std::int64_t offset);
SystemCallResult sys_readv(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list);
SystemCallResult sys_writev(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list);
SystemCallResult sys_preadv(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list,
                            std::int64_t offset);
SystemCallResult sys_pwritev(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list,
                             std::int64_t offset);
SystemCallResult sys_preadv2(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list,
                             std::int64_t offset, std::uint64_t, FlagsArgument flags);
SystemCallResult sys_pwritev2(FileDescriptor descriptor, UserSpan<Iovec, Direction::kIn> list,
                              std::int64_t offset, std::uint64_t, FlagsArgument flags);
SystemCallResult sys_lseek(FileDescriptor descriptor, std::int64_t offset, std::uint32_t whence);
SystemCallResult sys_ftruncate(FileDescriptor descriptor, std::int64_t size_bytes);
SystemCallResult sys_fallocate(FileDescriptor descriptor, FlagsArgument mode, std::int64_t offset,
                               std::int64_t length);
SystemCallResult sys_fsync(FileDescriptor descriptor);
SystemCallResult sys_sync();
SystemCallResult sys_syncfs(FileDescriptor descriptor);
SystemCallResult sys_fadvise64(FileDescriptor descriptor, std::int64_t, std::int64_t length,
                               int advice);
SystemCallResult sys_readahead(FileDescriptor descriptor, std::int64_t, std::uint64_t);
SystemCallResult sys_sendfile(FileDescriptor to_descriptor, FileDescriptor from_descriptor,
                              UserInOut<std::int64_t> offset, std::uint64_t count);
SystemCallResult sys_copy_file_range(FileDescriptor from_descriptor,
                                     UserInOut<std::int64_t> from_offset,
                                     FileDescriptor to_descriptor,
                                     UserInOut<std::int64_t> to_offset, std::uint64_t count,
                                     FlagsArgument flags);

// ---- descriptors.cc ----
SystemCallResult sys_open(UserPath path, FlagsArgument flags, ModeArgument mode);
SystemCallResult sys_openat(DirectoryDescriptor directory, UserPath path, FlagsArgument flags,
                            ModeArgument mode);
SystemCallResult sys_creat(UserPath path, ModeArgument mode);
SystemCallResult sys_close(FileDescriptor descriptor);
SystemCallResult sys_close_range(std::uint32_t first, std::uint32_t last, FlagsArgument flags);
SystemCallResult sys_dup(FileDescriptor descriptor);
SystemCallResult sys_dup2(FileDescriptor from, FileDescriptor to);
SystemCallResult sys_dup3(FileDescriptor from, FileDescriptor to, FlagsArgument flags);
SystemCallResult sys_pipe2(UserOut<DescriptorPair> pair, FlagsArgument flags);
SystemCallResult sys_pipe(UserOut<DescriptorPair> pair);
SystemCallResult sys_memfd_create(UserString name, FlagsArgument flags);
SystemCallResult sys_flock(FileDescriptor descriptor, int operation);
SystemCallResult sys_fcntl(FileDescriptor descriptor, int command, RawArgument argument);
SystemCallResult sys_ioctl(FileDescriptor descriptor, std::uint32_t command, RawArgument argument);

// ---- names.cc ----
SystemCallResult sys_mkdirat(DirectoryDescriptor directory, UserPath path, ModeArgument mode);
SystemCallResult sys_mkdir(UserPath path, ModeArgument mode);
SystemCallResult sys_mknodat(DirectoryDescriptor directory, UserPath path, ModeArgument mode,
                             std::uint32_t device);
SystemCallResult sys_mknod(UserPath path, ModeArgument mode, std::uint32_t device);
SystemCallResult sys_unlinkat(DirectoryDescriptor directory, UserPath path, FlagsArgument flags);
SystemCallResult sys_unlink(UserPath path);
SystemCallResult sys_rmdir(UserPath path);
SystemCallResult sys_symlinkat(UserString target, DirectoryDescriptor directory, UserPath path);
SystemCallResult sys_symlink(UserString target, UserPath path);
SystemCallResult sys_linkat(DirectoryDescriptor old_directory, UserPath old_path,
                            DirectoryDescriptor new_directory, UserPath new_path,
                            FlagsArgument flags);
SystemCallResult sys_link(UserPath old_path, UserPath new_path);
SystemCallResult sys_renameat2(DirectoryDescriptor old_directory, UserPath old_path,
                               DirectoryDescriptor new_directory, UserPath new_path,
                               FlagsArgument flags);
SystemCallResult sys_renameat(DirectoryDescriptor old_directory, UserPath old_path,
                              DirectoryDescriptor new_directory, UserPath new_path);
SystemCallResult sys_rename(UserPath old_path, UserPath new_path);
SystemCallResult sys_readlinkat(DirectoryDescriptor directory, UserPath path,
                                UserSpan<char, Direction::kOut> buffer);
SystemCallResult sys_readlink(UserPath path, UserSpan<char, Direction::kOut> buffer);
SystemCallResult sys_getdents64(FileDescriptor descriptor, UserOut<std::byte> buffer,
                                std::int32_t size_bytes);
SystemCallResult sys_getcwd(UserOut<char> buffer, std::uint64_t size_bytes);
SystemCallResult sys_chdir(UserPath path);
SystemCallResult sys_fchdir(FileDescriptor descriptor);
SystemCallResult sys_chroot(UserPath path);
SystemCallResult sys_umask(ModeArgument mask);
SystemCallResult sys_mount(UserString source, UserPath target, UserString type,
                           FlagsArgument64 flags, UserString options);
SystemCallResult sys_umount2(UserPath target, FlagsArgument flags);

// ---- attributes.cc ----
SystemCallResult sys_newfstatat(DirectoryDescriptor directory, UserPath path, UserOut<LinuxStat> to,
                                FlagsArgument flags);
SystemCallResult sys_stat(UserPath path, UserOut<LinuxStat> to);
SystemCallResult sys_lstat(UserPath path, UserOut<LinuxStat> to);
SystemCallResult sys_fstat(FileDescriptor descriptor, UserOut<LinuxStat> to);
SystemCallResult sys_statx(DirectoryDescriptor directory, UserPath path, FlagsArgument flags,
                           FlagsArgument mask, UserOut<LinuxStatx> to);
SystemCallResult sys_statfs(UserPath path, UserOut<LinuxStatfs> to);
SystemCallResult sys_fstatfs(FileDescriptor descriptor, UserOut<LinuxStatfs> to);
SystemCallResult sys_faccessat2(DirectoryDescriptor directory, UserPath path, ModeArgument mode,
                                FlagsArgument flags);
SystemCallResult sys_faccessat(DirectoryDescriptor directory, UserPath path, ModeArgument mode);
SystemCallResult sys_access(UserPath path, ModeArgument mode);
SystemCallResult sys_fchmodat(DirectoryDescriptor directory, UserPath path, ModeArgument mode);
SystemCallResult sys_chmod(UserPath path, ModeArgument mode);
SystemCallResult sys_fchmod(FileDescriptor descriptor, ModeArgument mode);
SystemCallResult sys_fchownat(DirectoryDescriptor directory, UserPath path, std::uint32_t uid,
                              std::uint32_t gid, FlagsArgument flags);
SystemCallResult sys_chown(UserPath path, std::uint32_t uid, std::uint32_t gid);
SystemCallResult sys_lchown(UserPath path, std::uint32_t uid, std::uint32_t gid);
SystemCallResult sys_fchown(FileDescriptor descriptor, std::uint32_t uid, std::uint32_t gid);
SystemCallResult sys_utimensat(DirectoryDescriptor directory, UserPath path,
                               UserIn<TimespecPair> times, FlagsArgument flags);
SystemCallResult sys_futimesat(DirectoryDescriptor directory, UserPath path,
                               UserIn<TimevalPair> times);
SystemCallResult sys_utimes(UserPath path, UserIn<TimevalPair> times);
SystemCallResult sys_utime(UserPath path, UserIn<LinuxUtimbuf> times);
SystemCallResult sys_truncate(UserPath path, std::int64_t size_bytes);

// ---- memory.cc ----
SystemCallResult sys_mmap(UserAddress address, std::uint64_t size_bytes, std::uint64_t protection,
                          FlagsArgument64 flags, FileDescriptor descriptor, std::uint64_t offset);
SystemCallResult sys_munmap(UserAddress address, std::uint64_t size_bytes);
SystemCallResult sys_mprotect(UserAddress address, std::uint64_t size_bytes,
                              std::uint64_t protection);
SystemCallResult sys_mremap(UserAddress address, std::uint64_t old_bytes, std::uint64_t new_bytes,
                            FlagsArgument64 flags, UserAddress new_address);
SystemCallResult sys_madvise(UserAddress address, std::uint64_t size_bytes, int advice);
SystemCallResult sys_brk(UserAddress wanted);
SystemCallResult sys_msync(UserAddress address, std::uint64_t size_bytes, int flags);
SystemCallResult sys_mincore(UserAddress address, std::uint64_t size_bytes,
                             UserOut<std::uint8_t> residency);
SystemCallResult sys_mlock2(UserAddress address, std::uint64_t size_bytes, FlagsArgument flags);
SystemCallResult sys_mlock(UserAddress address, std::uint64_t size_bytes);
SystemCallResult sys_munlock(UserAddress address, std::uint64_t size_bytes);
SystemCallResult sys_mlockall(FlagsArgument flags);
SystemCallResult sys_munlockall();
SystemCallResult sys_membarrier(int command, FlagsArgument flags, int);
SystemCallResult sys_process_vm_readv(ProcessNumber pid, UserSpan<Iovec, Direction::kIn> local,
                                      UserSpan<Iovec, Direction::kIn> remote,
                                      FlagsArgument64 flags);
SystemCallResult sys_process_vm_writev(ProcessNumber pid, UserSpan<Iovec, Direction::kIn> local,
                                       UserSpan<Iovec, Direction::kIn> remote,
                                       FlagsArgument64 flags);

// ---- processes.cc ----
SystemCallResult sys_fork(UserRegisters& registers);
SystemCallResult sys_vfork(UserRegisters& registers);
SystemCallResult sys_clone(FlagsArgument64 flags, UserAddress stack, UserOut<std::int32_t> parent,
                           UserOut<std::int32_t> child, UserAddress tls, UserRegisters& registers);
SystemCallResult sys_clone3(UserIn<std::uint64_t> arguments, std::uint64_t size_bytes,
                            UserRegisters& registers);
SystemCallResult sys_unshare(FlagsArgument64 flags);
SystemCallResult sys_set_tid_address(UserOut<std::int32_t> address);
SystemCallResult sys_execve(UserPath path, UserIn<std::uint64_t> argv, UserIn<std::uint64_t> envp,
                            UserRegisters& registers);
SystemCallResult sys_execveat(DirectoryDescriptor directory, UserPath path,
                              UserIn<std::uint64_t> argv, UserIn<std::uint64_t> envp,
                              FlagsArgument flags, UserRegisters& registers);
SystemCallResult sys_exit(int code);
SystemCallResult sys_exit_group(int code);
SystemCallResult sys_wait4(ProcessNumber pid, UserOut<std::int32_t> status, FlagsArgument options,
                           UserOut<ResourceUsage> usage);
SystemCallResult sys_waitid(int which, ProcessNumber id, UserOut<SignalInfo> info,
                            FlagsArgument options, UserOut<ResourceUsage> usage);
SystemCallResult sys_futex(UserInOut<std::uint32_t> word, int operation, std::uint32_t value,
                           RawArgument timeout_or_value, UserInOut<std::uint32_t> second,
                           std::uint32_t value3);
SystemCallResult sys_set_robust_list(UserAddress head, std::uint64_t length);
SystemCallResult sys_get_robust_list(ProcessNumber pid, UserOut<std::uint64_t> head,
                                     UserOut<std::uint64_t> length);
SystemCallResult sys_getpid();
SystemCallResult sys_gettid();
SystemCallResult sys_getppid();
SystemCallResult sys_setpgid(ProcessNumber pid, ProcessNumber group);
SystemCallResult sys_getpgid(ProcessNumber pid);
SystemCallResult sys_getpgrp();
SystemCallResult sys_setsid();
SystemCallResult sys_getsid(ProcessNumber pid);
SystemCallResult sys_sched_yield();
SystemCallResult sys_getpriority(int which, ProcessNumber who);
SystemCallResult sys_setpriority(int which, ProcessNumber who, int nice);
SystemCallResult sys_sched_getscheduler(ProcessNumber pid);
SystemCallResult sys_sched_getparam(ProcessNumber pid, UserOut<std::int32_t> priority);
SystemCallResult sys_sched_setscheduler(ProcessNumber pid, int policy,
                                        UserIn<std::int32_t> priority);
SystemCallResult sys_sched_setparam(ProcessNumber pid, UserIn<std::int32_t> priority);
SystemCallResult sys_sched_get_priority_max(int policy);
SystemCallResult sys_sched_get_priority_min(int policy);
SystemCallResult sys_sched_rr_get_interval(ProcessNumber pid, UserOut<Timespec> interval);
SystemCallResult sys_sched_getaffinity(ProcessNumber pid, std::uint32_t size_bytes,
                                       UserOut<std::uint64_t> mask);
SystemCallResult sys_sched_setaffinity(ProcessNumber pid, std::uint32_t size_bytes,
                                       UserIn<std::byte> mask);
SystemCallResult sys_getcpu(UserOut<std::uint32_t> cpu, UserOut<std::uint32_t> node, UserAddress);
SystemCallResult sys_prlimit64(ProcessNumber pid, std::uint32_t resource,
                               UserIn<ResourceLimit> wanted, UserOut<ResourceLimit> previous);
SystemCallResult sys_getrlimit(std::uint32_t resource, UserOut<ResourceLimit> to);
SystemCallResult sys_setrlimit(std::uint32_t resource, UserIn<ResourceLimit> from);
SystemCallResult sys_getrusage(int who, UserOut<ResourceUsage> to);
SystemCallResult sys_times(UserOut<ProcessTimes> to);
SystemCallResult sys_personality(std::uint32_t persona);

// ---- signals.cc ----
SystemCallResult sys_rt_sigaction(SignalNumber signal, UserIn<SignalAction> wanted,
                                  UserOut<SignalAction> previous, std::uint64_t mask_bytes);
SystemCallResult sys_rt_sigprocmask(int how, UserIn<SignalMask> wanted,
                                    UserOut<SignalMask> previous, std::uint64_t mask_bytes);
SystemCallResult sys_rt_sigpending(UserOut<SignalMask> to, std::uint64_t mask_bytes);
SystemCallResult sys_rt_sigsuspend(UserIn<SignalMask> mask, std::uint64_t mask_bytes);
SystemCallResult sys_rt_sigtimedwait(UserIn<SignalMask> set, UserOut<SignalInfo> info,
                                     UserIn<Timespec> timeout, std::uint64_t mask_bytes);
SystemCallResult sys_rt_sigqueueinfo(ProcessNumber pid, SignalNumber signal,
                                     UserIn<SignalInfo> info);
SystemCallResult sys_rt_tgsigqueueinfo(ProcessNumber tgid, ProcessNumber tid, SignalNumber signal,
                                       UserIn<SignalInfo> info);
SystemCallResult sys_kill(ProcessNumber pid, SignalNumber signal);
SystemCallResult sys_tkill(ProcessNumber tid, SignalNumber signal);
SystemCallResult sys_tgkill(ProcessNumber tgid, ProcessNumber tid, SignalNumber signal);
SystemCallResult sys_sigaltstack(UserIn<SignalStack> wanted, UserOut<SignalStack> previous,
                                 UserRegisters& registers);
SystemCallResult sys_rt_sigreturn(UserRegisters& registers);
SystemCallResult sys_restart_syscall();
SystemCallResult sys_pause();

// ---- time.cc ----
SystemCallResult sys_clock_gettime(std::int32_t clock, UserOut<Timespec> to);
SystemCallResult sys_clock_getres(std::int32_t clock, UserOut<Timespec> to);
SystemCallResult sys_clock_settime(std::int32_t clock, UserIn<Timespec> from);
SystemCallResult sys_gettimeofday(UserOut<Timeval> to, UserOut<LinuxTimezone> zone);
SystemCallResult sys_settimeofday(UserIn<Timeval> from, UserIn<LinuxTimezone> zone);
SystemCallResult sys_time(UserOut<std::int64_t> to);
SystemCallResult sys_nanosleep(UserIn<Timespec> duration, UserOut<Timespec> remaining);
SystemCallResult sys_clock_nanosleep(std::int32_t clock, FlagsArgument flags, UserIn<Timespec> time,
                                     UserOut<Timespec> remaining);
SystemCallResult sys_getitimer(int which, UserOut<IntervalTimeval> to);
SystemCallResult sys_setitimer(int which, UserIn<IntervalTimeval> wanted,
                               UserOut<IntervalTimeval> previous);
SystemCallResult sys_alarm(std::uint32_t seconds);
SystemCallResult sys_timer_create(std::int32_t clock, UserIn<LinuxSigevent> event,
                                  UserOut<std::int32_t> id);
SystemCallResult sys_timer_settime(std::int32_t id, FlagsArgument flags,
                                   UserIn<IntervalTimespec> wanted,
                                   UserOut<IntervalTimespec> previous);
SystemCallResult sys_timer_gettime(std::int32_t id, UserOut<IntervalTimespec> to);
SystemCallResult sys_timer_getoverrun(std::int32_t id);
SystemCallResult sys_timer_delete(std::int32_t id);

// ---- identity.cc ----
SystemCallResult sys_getuid();
SystemCallResult sys_geteuid();
SystemCallResult sys_getgid();
SystemCallResult sys_getegid();
SystemCallResult sys_setuid(std::uint32_t uid);
SystemCallResult sys_setgid(std::uint32_t gid);
SystemCallResult sys_setreuid(std::uint32_t ruid, std::uint32_t euid);
SystemCallResult sys_setregid(std::uint32_t rgid, std::uint32_t egid);
SystemCallResult sys_setresuid(std::uint32_t ruid, std::uint32_t euid, std::uint32_t suid);
SystemCallResult sys_setresgid(std::uint32_t rgid, std::uint32_t egid, std::uint32_t sgid);
SystemCallResult sys_setfsuid(std::uint32_t uid);
SystemCallResult sys_setfsgid(std::uint32_t gid);
SystemCallResult sys_getresuid(UserOut<std::uint32_t> ruid, UserOut<std::uint32_t> euid,
                               UserOut<std::uint32_t> suid);
SystemCallResult sys_getresgid(UserOut<std::uint32_t> rgid, UserOut<std::uint32_t> egid,
                               UserOut<std::uint32_t> sgid);
SystemCallResult sys_getgroups(std::int32_t count, UserOut<std::uint32_t> to);
SystemCallResult sys_setgroups(std::uint32_t count, UserIn<std::uint32_t> from);
SystemCallResult sys_capget(UserInOut<LinuxCapabilityHeader> header,
                            UserOut<LinuxCapabilityData> to);
SystemCallResult sys_capset(UserInOut<LinuxCapabilityHeader> header,
                            UserIn<LinuxCapabilityData> from);

// ---- polling.cc ----
SystemCallResult sys_poll(UserSpan<LinuxPollfd, Direction::kInOut> list, int timeout_ms);
SystemCallResult sys_ppoll(UserSpan<LinuxPollfd, Direction::kInOut> list,
                           UserInOut<Timespec> timeout, UserIn<SignalMask> mask,
                           std::uint64_t mask_bytes);
SystemCallResult sys_select(std::int32_t count, UserInOut<std::uint64_t> read,
                            UserInOut<std::uint64_t> write, UserInOut<std::uint64_t> except,
                            UserInOut<Timeval> timeout);
SystemCallResult sys_pselect6(std::int32_t count, UserInOut<std::uint64_t> read,
                              UserInOut<std::uint64_t> write, UserInOut<std::uint64_t> except,
                              UserInOut<Timespec> timeout, UserIn<SignalMaskArgument> mask);

// ---- system.cc ----
SystemCallResult sys_uname(UserOut<LinuxUtsname> to);
SystemCallResult sys_sethostname(UserSpan<char, Direction::kIn> name);
SystemCallResult sys_sysinfo(UserOut<LinuxSysinfo> to);
SystemCallResult sys_getrandom(UserOut<std::byte> buffer, std::uint64_t size_bytes,
                               FlagsArgument flags);
SystemCallResult sys_syslog(int action, UserOut<char> buffer, std::int32_t size_bytes);
SystemCallResult sys_prctl(int option, RawArgument argument2, RawArgument argument3,
                           RawArgument argument4, RawArgument argument5);
SystemCallResult sys_arch_prctl(int option, RawArgument argument);
SystemCallResult sys_reboot(std::uint32_t magic, std::uint32_t magic2, std::uint32_t command,
                            UserAddress);
SystemCallResult sys_socket(int, int, int);
SystemCallResult sys_socketpair(int, int, int, UserOut<DescriptorPair>);

}  // namespace holstein
