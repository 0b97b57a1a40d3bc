// The border's history: strings at the end of memory, vectors that overflow, sizes that wrap,
// pointers that are followed late, memory that changes meanwhile.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

constexpr std::uint64_t kKernelText = 0xffffffff80000000;

// ---- Strings ------------------------------------------------------------------------------------

TEST(UserStrings, MayEndAtTheLastByteOfTheLastMappedPage) {
  EdgeMapping edge;
  struct stat status;
  for (const char* path : {"/", "/tmp", "/dev/null", "/././././././././tmp"}) {
    unsigned char* const at = edge.end() - strlen(path) - 1;
    strcpy(reinterpret_cast<char*>(at), path);
    EXPECT_EQ(call(SYS_stat, at, &status), 0) << path;
  }
}

TEST(UserStrings, ThatRunIntoAnUnmappedPageAreFaultsAtEveryLength) {
  EdgeMapping edge;
  struct stat status;
  for (int length = 1; length < 300; ++length) {
    memset(edge.end() - length, '/', static_cast<std::size_t>(length));
    EXPECT_EQ(call(SYS_stat, edge.end() - length, &status), -EFAULT) << length;
  }
}

TEST(UserStrings, AreCutAtTheLongestPathBeforeTheyFault) {
  EdgeMapping edge(3);
  struct stat status;
  memset(edge.begin(), '/', 3 * kPage);
  EXPECT_EQ(call(SYS_stat, edge.end() - PATH_MAX, &status), -ENAMETOOLONG);
  EXPECT_EQ(call(SYS_stat, edge.end() - (PATH_MAX - 1), &status), -EFAULT);
  edge.end()[-1] = '\0';
  EXPECT_EQ(call(SYS_stat, edge.end() - PATH_MAX, &status), 0);
  EXPECT_EQ(call(SYS_stat, edge.end() - PATH_MAX - 1, &status), -ENAMETOOLONG);
}

// The kernel may read a long string in pieces: nothing may be lost or doubled between them.
TEST(UserStrings, OfEveryLengthNameWhatTheySay) {
  TempFolder folder;
  write_file(folder / "file", "");
  EdgeMapping edge(2);
  struct stat status;
  const std::size_t least = (folder / "file").size();
  std::size_t checked = 0;
  for (std::size_t length = least; length < PATH_MAX; length += length < 600 ? 1 : 97) {
    const std::string path =
        folder.path() + std::string(length - least + 1, '/') + std::string("file");
    unsigned char* const at = edge.end() - length - 1;
    strcpy(reinterpret_cast<char*>(at), path.c_str());
    EXPECT_EQ(call(SYS_stat, at, &status), 0) << length;
    at[length - 1] = 'x';
    EXPECT_EQ(call(SYS_stat, at, &status), -ENOENT) << length;
    ++checked;
  }
  EXPECT_GT(checked, 500u);
}

TEST(UserStrings, OfWhichOneIsTheOthersEndAreTwoArguments) {
  // A kernel that reads long ones in parts must not take the parts for the same.
  std::string longer;
  for (int i = 0; i < 200; ++i) {
    longer += "./";
  }
  longer += "no such file";
  EXPECT_EQ(call(SYS_rename, longer.c_str(), longer.c_str() + 2), -ENOENT);
  EXPECT_EQ(call(SYS_rename, longer.c_str() + 2, longer.c_str()), -ENOENT);
}

TEST(UserStrings, AcrossTwoPagesOfWhichTheSecondWasNeverTouched) {
  Mapping memory(2 * kPage);
  struct stat status;
  // Its terminating zero comes from the fresh page.
  memcpy(memory.page(1) - 4, "/tmp", 4);
  EXPECT_EQ(call(SYS_stat, memory.page(1) - 4, &status), 0);
}

TEST(UserStrings, InPagesThatAForkSharesAreRead) {
  Mapping memory(kPage);
  strcpy(reinterpret_cast<char*>(memory.data()), "/dev/null");
  EXPECT_TRUE(passes_in_child([&] {
    struct stat status;
    REQUIRE(call(SYS_stat, memory.data(), &status) == 0);
    memory[4] = '\0';
    REQUIRE(call(SYS_stat, memory.data(), &status) == 0 && S_ISDIR(status.st_mode));
  }));
  EXPECT_STREQ(reinterpret_cast<char*>(memory.data()), "/dev/null");
}

// ---- Vectors ------------------------------------------------------------------------------------

TEST(Vectors, CountsAndSumsAreChecked) {
  Descriptor zero(open("/dev/zero", O_RDWR));
  Mapping memory(20 * kPage);
  auto* const pieces = reinterpret_cast<iovec*>(memory.data());
  for (int i = 0; i < IOV_MAX; ++i) {
    pieces[i] = {memory.page(10) + i, 1};
  }
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, IOV_MAX), IOV_MAX);
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, IOV_MAX + 1), -EINVAL);
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, -1), -EINVAL);
  EXPECT_EQ(call(SYS_readv, zero.get(), nullptr, 0), 0);
  pieces[1].iov_len = SIZE_MAX;
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, 2), -EINVAL);
  pieces[1].iov_len = std::size_t{1} << 63;
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, 2), -EINVAL);
  // A length that is a good number and leads out of user space.
  pieces[1].iov_len = SSIZE_MAX;
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, 2), -EFAULT);
  // Good pieces whose sum is more than a call can return: it ends where the memory does.
  EdgeMapping edge;
  for (int i = 0; i < IOV_MAX; ++i) {
    pieces[i] = {edge.begin(), 64 * kMiB};
  }
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, IOV_MAX), long{kPage});
}

TEST(Vectors, TheFirstPiecesAreFilledBeforeABadOne) {
  Mapping memory(kPage);
  memset(memory.data(), 0xee, kPage);
  Descriptor zero(open("/dev/zero", O_RDONLY));
  const iovec pieces[] = {{memory.data(), 4}, {nullptr, 0}, {reinterpret_cast<void*>(64), 4}};
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, 3), 4);
  EXPECT_TRUE(is_all(memory.data(), 4, 0));
  EXPECT_TRUE(is_all(memory.data() + 4, kPage - 4, 0xee));
  const iovec bad_first[] = {{reinterpret_cast<void*>(64), 4}, {memory.data(), 4}};
  EXPECT_EQ(call(SYS_readv, zero.get(), bad_first, 2), -EFAULT);
}

TEST(Vectors, APieceInTheKernelIsRefusedBeforeAnythingIsDone) {
  Mapping memory(kPage);
  fill(memory.data(), kPage, 1);
  Descriptor zero(open("/dev/zero", O_RDONLY));
  const iovec pieces[] = {{memory.data(), 100}, {reinterpret_cast<void*>(kKernelText), 100}};
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, 2), -EFAULT);
  EXPECT_TRUE(is_filled(memory.data(), kPage, 1));
}

TEST(Vectors, TheListMayEndAtTheEndOfMemoryButNotBehindIt) {
  EdgeMapping edge;
  Descriptor zero(open("/dev/zero", O_RDONLY));
  auto* const pieces = reinterpret_cast<iovec*>(edge.end()) - 2;
  pieces[0] = pieces[1] = {edge.begin(), 8};
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, 2), 16);
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, 3), -EFAULT);
}

TEST(Vectors, OverwritingTheListWhileItIsUsedChangesNothing) {
  // The first piece is the list itself: it must have been taken before.
  Mapping memory(2 * kPage);
  Descriptor zero(open("/dev/zero", O_RDONLY));
  fill(memory.page(1), kPage, 1);
  auto* const pieces = reinterpret_cast<iovec*>(memory.data());
  pieces[0] = {pieces, 2 * sizeof(iovec)};
  pieces[1] = {memory.page(1), kPage};
  EXPECT_EQ(call(SYS_readv, zero.get(), pieces, 2), static_cast<long>(2 * sizeof(iovec) + kPage));
  EXPECT_TRUE(is_all(memory.data(), 2 * kPage, 0));
}

// ---- Lengths ------------------------------------------------------------------------------------

TEST(Lengths, ThatReachOutOfUserSpaceAreFaultsAtOnce) {
  Mapping memory(kPage);
  fill(memory.data(), kPage, 1);
  Descriptor zero(open("/dev/zero", O_RDONLY));
  for (std::uint64_t length :
       {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{1} << 47, 0xffffffffff000000}) {
    EXPECT_EQ(call(SYS_read, zero.get(), memory.data(), length), -EFAULT) << std::hex << length;
  }
  EXPECT_TRUE(is_filled(memory.data(), kPage, 1));
}

TEST(Lengths, OfNothingNeedNoMemory) {
  Descriptor zero(open("/dev/zero", O_RDONLY));
  EXPECT_EQ(call(SYS_read, zero.get(), nullptr, 0), 0);
  EXPECT_EQ(call(SYS_getrandom, nullptr, 0, 0), 0);
}

TEST(Lengths, BeyondTheMappingLoseNoByteOfAPipe) {
  EdgeMapping edge;
  PipeEnds pipe = make_pipe();
  unsigned char data[200];
  fill(data, sizeof(data), 3);
  ASSERT_EQ(write(pipe.write_end.get(), data, 200), 200);
  EXPECT_EQ(call(SYS_read, pipe.read_end.get(), edge.end() - 50, 200), -EFAULT);
  unsigned char rest[200];
  ASSERT_EQ(call(SYS_read, pipe.read_end.get(), rest, 200), 200);
  EXPECT_EQ(memcmp(rest, data, 200), 0);
}

TEST(Lengths, BeyondTheMappingTakeWholePagesOfAPipe) {
  EdgeMapping edge(4);
  PipeEnds pipe = make_pipe();
  std::vector<unsigned char> data(3 * kPage + 100);
  fill(data.data(), data.size(), 3);
  const auto size = static_cast<long>(data.size());
  ASSERT_EQ(call(SYS_write, pipe.write_end.get(), data.data(), data.size()), size);
  // Two pages fit and half of the third, which stays in the pipe.
  unsigned char* const to = edge.end() - 2 * kPage - kPage / 2;
  EXPECT_EQ(call(SYS_read, pipe.read_end.get(), to, data.size()), long{2 * kPage});
  EXPECT_EQ(memcmp(to, data.data(), 2 * kPage), 0);
  std::vector<unsigned char> rest(data.size());
  EXPECT_EQ(call(SYS_read, pipe.read_end.get(), rest.data(), rest.size()), size - long{2 * kPage});
  EXPECT_EQ(memcmp(rest.data(), data.data() + 2 * kPage, kPage + 100), 0);
}

TEST(Lengths, BeyondTheMappingPutWholePagesIntoAPipe) {
  EdgeMapping edge(4);
  PipeEnds pipe = make_pipe();
  unsigned char* const from = edge.end() - 2 * kPage - kPage / 2;
  fill(from, 2 * kPage + kPage / 2, 3);
  EXPECT_EQ(call(SYS_write, pipe.write_end.get(), from, 3 * kPage), long{2 * kPage});
  std::vector<unsigned char> got(4 * kPage);
  ASSERT_EQ(call(SYS_read, pipe.read_end.get(), got.data(), got.size()), long{2 * kPage});
  EXPECT_EQ(memcmp(got.data(), from, 2 * kPage), 0);
  // Less than a page: nothing.
  EXPECT_EQ(call(SYS_write, pipe.write_end.get(), edge.end() - 50, 100), -EFAULT);
  EXPECT_EQ(call(SYS_write, pipe.write_end.get(), "x", 1), 1);
  ASSERT_EQ(call(SYS_read, pipe.read_end.get(), got.data(), got.size()), 1);
  EXPECT_EQ(got[0], 'x');
}

TEST(Lengths, AWriteOfWhatIsPartlyMappedWritesThatPart) {
  TempFolder folder;
  EdgeMapping edge(2);
  fill(edge.begin(), 2 * kPage, 4);
  Descriptor file(open((folder / "file").c_str(), O_RDWR | O_CREAT, 0600));
  const long written = call(SYS_write, file.get(), edge.begin(), 3 * kPage);
  ASSERT_EQ(written, static_cast<long>(2 * kPage));
  const std::string contents = read_file(folder / "file");
  ASSERT_EQ(contents.size(), 2 * kPage);
  EXPECT_EQ(memcmp(contents.data(), edge.begin(), 2 * kPage), 0);
}

// ---- Rarely used pointers -----------------------------------------------------------------------

TEST(RarePointers, OfWaitidAreChecked) {
  // A missing check here once let programs write to kernel memory.
  const pid_t child = fork();
  if (child == 0) {
    _exit(0);
  }
  EXPECT_EQ(call(SYS_waitid, P_PID, child, kKernelText, WEXITED | WNOWAIT, nullptr), -EFAULT);
  EXPECT_EQ(call(SYS_waitid, P_PID, child, nullptr, WEXITED, kKernelText), -EFAULT);
  waitpid(child, nullptr, 0);
}

TEST(RarePointers, ToBeClearedAtExitHurtNobody) {
  for (std::uint64_t pointer : {std::uint64_t{1}, kKernelText, std::uint64_t{0x8000000000000000},
                                std::uint64_t{0x7ffffffffffe}}) {
    EXPECT_TRUE(passes_in_child([&] { call(SYS_set_tid_address, pointer); }));
    EXPECT_TRUE(passes_in_child([&] { REQUIRE(call(SYS_set_robust_list, pointer, 24) == 0); }));
  }
  EXPECT_EQ(call(SYS_set_robust_list, nullptr, 23), -EINVAL);
}

TEST(RarePointers, OfARobustListThatNeverEndsAreFollowedOnlySoFar) {
  EXPECT_TRUE(passes_in_child([] {
    struct Node {
      Node* next;
      long offset;
      Node* pending;
    };
    static Node ring[2];
    ring[0] = {&ring[1], 100000000, nullptr};
    ring[1] = {&ring[0], 0, reinterpret_cast<Node*>(kKernelText)};
    // A list whose entries come back to an entry that is not its head.
    static Node head;
    head = {&ring[0], 0, nullptr};
    REQUIRE(call(SYS_set_robust_list, &head, 24) == 0);
  }));
}

TEST(RarePointers, InsideAnArgumentMayNameWhatAnotherDoes) {
  static std::uint64_t set[1];
  static timespec at_once;
  const std::uint64_t in_set[2] = {reinterpret_cast<std::uint64_t>(set), sizeof(set)};
  EXPECT_EQ(call(SYS_pselect6, 1, set, nullptr, nullptr, &at_once, in_set), 0);
  const std::uint64_t in_time[2] = {reinterpret_cast<std::uint64_t>(&at_once), sizeof(set)};
  EXPECT_EQ(call(SYS_pselect6, 1, set, nullptr, nullptr, &at_once, in_time), 0);
}

TEST(RarePointers, OfAnAddressToWaitOnAreChecked) {
  EXPECT_EQ(call(SYS_futex, kKernelText, FUTEX_WAIT, 0, nullptr), -EFAULT);
  EXPECT_EQ(call(SYS_futex, nullptr, FUTEX_WAIT, 0, nullptr), -EFAULT);
  EXPECT_EQ(call(SYS_futex, 0x8000000000000000, FUTEX_WAKE, 1), -EFAULT);
  static int words[2];
  EXPECT_EQ(call(SYS_futex, reinterpret_cast<char*>(words) + 1, FUTEX_WAIT, 0, nullptr), -EINVAL);
  EXPECT_EQ(call(SYS_futex, words, FUTEX_WAKE_OP, 1, 1, kKernelText, 0), -EFAULT);
}

TEST(RarePointers, InReadOnlyMemoryAreNotWritten) {
  // A compare-exchange of the kernel needs write access, too.
  Mapping memory(kPage);
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ), 0);
  static int word;
  EXPECT_EQ(call(SYS_futex, &word, FUTEX_WAKE_OP, 1, 1, memory.data(),
                 FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0)),
            -EFAULT);
  EXPECT_EQ(memory[0], 0);
}

// ---- Copies that fault in memory ----------------------------------------------------------------

TEST(UserCopies, FillMemoryThatWasNeverTouched) {
  Mapping memory(64 * kPage);
  PipeEnds pipe = make_pipe();
  Mapping data(64 * kPage);
  fill(data.data(), data.size(), 6);
  std::size_t done = 0;
  while (done < data.size()) {
    const long written = call(SYS_write, pipe.write_end.get(), data.data() + done,
                              std::min<std::size_t>(60000, data.size() - done));
    ASSERT_GT(written, 0);
    long got = 0;
    while (got < written) {
      const long piece =
          call(SYS_read, pipe.read_end.get(), memory.data() + done + got, written - got);
      ASSERT_GT(piece, 0);
      got += piece;
    }
    done += static_cast<std::size_t>(written);
  }
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 6));
}

TEST(UserCopies, AtEveryAlignmentAreExact) {
  PipeEnds pipe = make_pipe();
  unsigned char from[64];
  fill(from, sizeof(from), 7);
  Mapping memory(2 * kPage);
  for (std::size_t length = 1; length <= 17; ++length) {
    for (std::size_t offset = 0; offset < 17; ++offset) {
      unsigned char* const to = memory.page(1) - 8 + offset - length / 2;
      memset(memory.page(1) - 64, 0xaa, 128);
      ASSERT_EQ(call(SYS_write, pipe.write_end.get(), from + offset, length),
                static_cast<long>(length));
      ASSERT_EQ(call(SYS_read, pipe.read_end.get(), to, length), static_cast<long>(length));
      ASSERT_EQ(memcmp(to, from + offset, length), 0);
      ASSERT_EQ(to[-1], 0xaa);
      ASSERT_EQ(to[length], 0xaa);
    }
  }
}

TEST(UserCopies, ThatFlipUnderAnotherThreadsWritesDoNoHarm) {
  // One thread changes the vector's list while another reads with it; each call may fail, but only
  // as a call with one of the lists fails.
  static iovec piece;
  static volatile bool stop;
  static unsigned char buffer[64];
  stop = false;
  piece = {buffer, 8};
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, nullptr,
                [](void*) -> void* {
                  auto* const length = const_cast<volatile std::size_t*>(&piece.iov_len);
                  while (!stop) {
                    *length = 64;
                    *length = SIZE_MAX;
                    *length = 8;
                  }
                  return nullptr;
                },
                nullptr),
            0);
  Descriptor zero(open("/dev/zero", O_RDONLY));
  for (int round = 0; round < 2000; ++round) {
    const long got = call(SYS_readv, zero.get(), &piece, 1);
    if (got != 8 && got != 64 && got != -EINVAL) {
      ADD_FAILURE() << got;
      break;
    }
    if (round % 100 == 0) {
      sched_yield();
    }
  }
  stop = true;
  pthread_join(thread, nullptr);
}

TEST(UserCopies, LeaveNoKernelBytesInTheHolesOfWhatComesOut) {
  // Every byte of a structure that a call says it filled is either set or zero, never old memory:
  // twice the same call into different garbage gives the same bytes.
  struct stat first;
  struct stat second;
  memset(&first, 0x55, sizeof(first));
  memset(&second, 0xaa, sizeof(second));
  ASSERT_EQ(call(SYS_stat, "/dev/null", &first), 0);
  ASSERT_EQ(call(SYS_stat, "/dev/null", &second), 0);
  EXPECT_EQ(memcmp(&first, &second, sizeof(first)), 0);
  siginfo_t informations[2];
  for (siginfo_t& information : informations) {
    memset(&information, &information == informations ? 0x55 : 0xaa, sizeof(information));
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigset_t before;
    sigprocmask(SIG_BLOCK, &set, &before);
    raise(SIGUSR1);
    ASSERT_EQ(call(SYS_rt_sigtimedwait, &set, &information, nullptr, 8), SIGUSR1);
    sigprocmask(SIG_SETMASK, &before, nullptr);
  }
  EXPECT_EQ(memcmp(&informations[0], &informations[1], sizeof(siginfo_t)), 0);
}

TEST(UserCopies, LeaveTheHolesOfWhatComesOutZero) {
  // A kernel address would be the same each time, too: what has no meaning is zero.
  const auto is_zero = [](const auto& part) {
    static constexpr unsigned char kZeros[256] = {};
    static_assert(sizeof(part) <= sizeof(kZeros));
    return memcmp(&part, kZeros, sizeof(part)) == 0;
  };
  struct stat file;
  memset(&file, 0x55, sizeof(file));
  ASSERT_EQ(call(SYS_stat, "/dev/null", &file), 0);
  EXPECT_TRUE(is_zero(file.__pad0));
  EXPECT_TRUE(is_zero(file.__glibc_reserved));
  struct statfs file_system;
  memset(&file_system, 0x55, sizeof(file_system));
  ASSERT_EQ(call(SYS_statfs, "/dev/null", &file_system), 0);
  EXPECT_TRUE(is_zero(file_system.f_spare));
  struct sysinfo machine;
  memset(&machine, 0x55, sizeof(machine));
  ASSERT_EQ(call(SYS_sysinfo, &machine), 0);
  EXPECT_TRUE(is_zero(machine.pad));
  EXPECT_TRUE(is_zero(machine.totalhigh));  // 32-bit machines have such memory
  EXPECT_TRUE(is_zero(machine.freehigh));
  unsigned char end[4];
  memcpy(end, reinterpret_cast<const unsigned char*>(&machine) + sizeof(machine) - sizeof(end),
         sizeof(end));
  EXPECT_TRUE(is_zero(end));
  struct rusage usage;
  memset(&usage, 0x55, sizeof(usage));
  ASSERT_EQ(call(SYS_getrusage, RUSAGE_SELF, &usage), 0);
  EXPECT_EQ(usage.ru_ixrss | usage.ru_idrss | usage.ru_isrss | usage.ru_nswap, 0);
  EXPECT_EQ(usage.ru_msgsnd | usage.ru_msgrcv | usage.ru_nsignals, 0);
}

}  // namespace
}  // namespace holstein::guest
