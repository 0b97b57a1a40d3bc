// /proc/<pid>/mem: memory as a file, with the rights of a debugger, and what it must never change.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "tests/guest/memory.h"
#include "tests/guest/processes.h"
#include "tests/guest/system_call.h"
#include "tests/guest/temp_files.h"

namespace holstein::guest {
namespace {

std::string mem_of(pid_t pid) { return "/proc/" + std::to_string(pid) + "/mem"; }

long read_at(const Descriptor& mem, void* to, std::size_t bytes, const void* address) {
  return call(SYS_pread64, mem.get(), to, bytes, address);
}
long write_at(const Descriptor& mem, const void* from, std::size_t bytes, const void* address) {
  return call(SYS_pwrite64, mem.get(), from, bytes, address);
}

class ProcMem : public testing::Test {
 protected:
  const Descriptor own_{open("/proc/self/mem", O_RDWR | O_CLOEXEC)};
};

TEST_F(ProcMem, ReadsAndWritesItsOwnMemory) {
  Mapping memory(3 * kPage);
  Mapping copy(3 * kPage);
  fill(memory.data(), memory.size(), 1);
  EXPECT_EQ(read_at(own_, copy.data(), copy.size(), memory.data()), long{3 * kPage});
  EXPECT_TRUE(is_filled(copy.data(), copy.size(), 1));
  fill(copy.data(), copy.size(), 2);
  EXPECT_EQ(write_at(own_, copy.data(), copy.size(), memory.data()), long{3 * kPage});
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 2));
}

TEST_F(ProcMem, APositionIsAnAddress) {
  Mapping memory(kPage);
  fill(memory.data(), kPage, 3);
  ASSERT_EQ(call(SYS_lseek, own_.get(), memory.data() + 7, SEEK_SET),
            to_register(memory.data() + 7));
  unsigned char bytes[16];
  EXPECT_EQ(call(SYS_read, own_.get(), bytes, 8), 8);
  EXPECT_EQ(call(SYS_read, own_.get(), bytes + 8, 8), 8);
  EXPECT_EQ(memcmp(bytes, memory.data() + 7, 16), 0);
  EXPECT_EQ(call(SYS_write, own_.get(), "text", 4), 4);
  EXPECT_EQ(memcmp(memory.data() + 23, "text", 4), 0);
  EXPECT_EQ(call(SYS_lseek, own_.get(), -4, SEEK_CUR), to_register(memory.data() + 23));
  EXPECT_EQ(call(SYS_lseek, own_.get(), 0, SEEK_END), -EINVAL);
}

TEST_F(ProcMem, EndsAtTheFirstPageThatIsNotThere) {
  EdgeMapping edge;
  munmap(edge.end(), kPage);  // PROT_NONE would not stop anything here
  fill(edge.begin(), kPage, 1);
  Mapping copy(2 * kPage);
  EXPECT_EQ(read_at(own_, copy.data(), 2 * kPage, edge.begin()), long{kPage});
  EXPECT_TRUE(is_filled(copy.data(), kPage, 1));
  EXPECT_EQ(read_at(own_, copy.data(), 100, edge.end()), -EIO);
  EXPECT_EQ(write_at(own_, copy.data(), 100, edge.end()), -EIO);
  EXPECT_EQ(write_at(own_, copy.data(), 100, edge.end() - 60), 60);
  EXPECT_EQ(read_at(own_, copy.data(), 0, edge.end()), 0);
}

TEST_F(ProcMem, KernelAddressesAreNoMemory) {
  Mapping copy(kPage);
  EXPECT_EQ(read_at(own_, copy.data(), 8, reinterpret_cast<void*>(0xffffffff80000000)), -EINVAL);
  for (const unsigned long address :
       {0x7ffffffff000UL, 0x800000000000UL, 0xffff800000000000UL, 0xffffffff80000000UL}) {
    ASSERT_EQ(call(SYS_lseek, own_.get(), address, SEEK_SET), static_cast<long>(address));
    EXPECT_EQ(call(SYS_read, own_.get(), copy.data(), 8), -EIO) << address;
    EXPECT_EQ(call(SYS_write, own_.get(), copy.data(), 8), -EIO) << address;
  }
  ASSERT_EQ(call(SYS_lseek, own_.get(), -4096L - 8, SEEK_SET), -4096L - 8);
  EXPECT_EQ(call(SYS_read, own_.get(), copy.data(), 2 * kPage), -EOVERFLOW);
  EXPECT_TRUE(is_all(copy.data(), kPage, 0));
}

TEST_F(ProcMem, ABadBufferIsAFault) {
  Mapping memory(kPage);
  fill(memory.data(), kPage, 1);
  EdgeMapping edge;
  EXPECT_EQ(read_at(own_, edge.end() - 4, 8, memory.data()), -EFAULT);
  EXPECT_EQ(write_at(own_, edge.end() - 4, 8, memory.data()), -EFAULT);
  EXPECT_EQ(read_at(own_, reinterpret_cast<void*>(0xffffffff80000000), 8, memory.data()), -EFAULT);
  EXPECT_TRUE(is_filled(memory.data(), kPage, 1));
}

TEST_F(ProcMem, ReachesWhatTheProgramItselfMayNot) {
  Mapping memory(2 * kPage);
  fill(memory.data(), kPage, 1);
  ASSERT_EQ(mprotect(memory.data(), 2 * kPage, PROT_NONE), 0);
  Mapping copy(kPage);
  // The first page holds something, the second was never touched.
  EXPECT_EQ(read_at(own_, copy.data(), kPage, memory.data()), long{kPage});
  EXPECT_TRUE(is_filled(copy.data(), kPage, 1));
  EXPECT_EQ(read_at(own_, copy.data(), kPage, memory.page(1)), long{kPage});
  EXPECT_TRUE(is_all(copy.data(), kPage, 0));
  EXPECT_EQ(fault_of([&] { read_byte(memory.data()); }).signal, SIGSEGV);
  EXPECT_EQ(fault_of([&] { read_byte(memory.page(1)); }).signal, SIGSEGV);
  EXPECT_EQ(write_at(own_, "one", 3, memory.data()), 3);
  EXPECT_EQ(write_at(own_, "two", 3, memory.page(1)), 3);
  EXPECT_EQ(fault_of([&] { read_byte(memory.data()); }).code, SEGV_ACCERR);
  EXPECT_EQ(fault_of([&] { write_byte(memory.page(1), 0); }).code, SEGV_ACCERR);
  ASSERT_EQ(mprotect(memory.data(), 2 * kPage, PROT_READ), 0);
  EXPECT_EQ(memcmp(memory.data(), "one", 3), 0);
  EXPECT_EQ(memcmp(memory.page(1), "two", 3), 0);
  EXPECT_EQ(write_at(own_, "six", 3, memory.page(1)), 3);
  EXPECT_EQ(memcmp(memory.page(1), "six", 3), 0);
  EXPECT_EQ(fault_of([&] { write_byte(memory.page(1), 0); }).code, SEGV_ACCERR);
}

TEST_F(ProcMem, ForcedWritesAfterAForkStayOnTheirSide) {
  Mapping memory(2 * kPage, PROT_READ | PROT_WRITE);
  fill(memory.data(), 2 * kPage, 1);
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ), 0);
  ASSERT_EQ(mprotect(memory.page(1), kPage, PROT_NONE), 0);
  Gate written;
  Child child([&] {
    written.wait();
    REQUIRE(is_filled(memory.data(), kPage, 1));
    REQUIRE(mprotect(memory.page(1), kPage, PROT_READ) == 0);
    REQUIRE(is_filled(memory.data(), 2 * kPage, 1));
  });
  EXPECT_EQ(write_at(own_, "mine", 4, memory.data()), 4);
  EXPECT_EQ(write_at(own_, "mine", 4, memory.page(1)), 4);
  written.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
  EXPECT_EQ(memcmp(memory.data(), "mine", 4), 0);
}

TEST_F(ProcMem, WritesToAChildReachTheChildOnly) {
  Mapping memory(2 * kPage);
  fill(memory.data(), memory.size(), 1);
  Gate written;
  Child child([&] {
    written.wait();
    REQUIRE(memcmp(memory.data() + 4090, "twelve bytes", 12) == 0);
  });
  const Descriptor mem(open(mem_of(child.pid()).c_str(), O_RDWR));
  EXPECT_EQ(write_at(mem, "twelve bytes", 12, memory.data() + 4090), 12);
  EXPECT_TRUE(is_filled(memory.data(), memory.size(), 1));
  char text[12];
  EXPECT_EQ(read_at(mem, text, 12, memory.data() + 4090), 12);
  EXPECT_EQ(memcmp(text, "twelve bytes", 12), 0);
  written.open();
  EXPECT_TRUE(exited_with(0, child.wait()));
  // Its memory is gone, which is no error but the end.
  EXPECT_EQ(read_at(mem, text, 12, memory.data() + 4090), 0);
  EXPECT_EQ(write_at(mem, text, 12, memory.data() + 4090), 0);
}

TEST_F(ProcMem, OfAProgramThatHasBecomeAnotherIsEmpty) {
  Mapping memory(kPage);
  Gate go;
  Child child([&] {
    go.wait();
    execl(own_path().c_str(), "@pause", nullptr);
    REQUIRE(false);
  });
  const Descriptor mem(open(mem_of(child.pid()).c_str(), O_RDONLY));
  char byte;
  long result;
  go.open();
  while ((result = read_at(mem, &byte, 1, memory.data())) == 1) {
    sched_yield();
  }
  EXPECT_EQ(result, 0);
}

TEST_F(ProcMem, OfAnotherUserCannotBeOpened) {
  EXPECT_TRUE(passes_in_child([] {
    const std::string parent = mem_of(getppid());
    become_ordinary_user();
    if (getuid() == 0) return;
    REQUIRE(open(parent.c_str(), O_RDONLY) == -1 && errno == EACCES);
    REQUIRE(open(parent.c_str(), O_RDWR) == -1 && errno == EACCES);
    // Who was root until now may have root's secrets in memory: its files in /proc are root's.
    REQUIRE(open("/proc/self/mem", O_RDWR) == -1 && errno == EACCES);
  }));
}

TEST_F(ProcMem, OfAProcessThatHidesItselfIsForItsPrivilegedUsersOnly) {
  EXPECT_TRUE(passes_in_child([] {
    become_ordinary_user();
    if (getuid() == 0) return;
    Gate hidden;
    Gate release;
    Child child([&] {
      REQUIRE(prctl(PR_SET_DUMPABLE, 0) == 0);
      hidden.open();
      release.wait();
    });
    hidden.wait();
    REQUIRE(open(mem_of(child.pid()).c_str(), O_RDONLY) == -1 && errno == EACCES);
    release.open();
  }));
}

TEST_F(ProcMem, SharedMappingsAreWrittenOnlyByTheirRights) {
  TempFolder folder;
  write_file(folder / "file", std::string(kPage, 'f'));
  const Descriptor file(open((folder / "file").c_str(), O_RDWR));
  const Mapping readable(kPage, PROT_READ, MAP_SHARED, file.get());
  EXPECT_EQ(write_at(own_, "x", 1, readable.data()), -EIO);
  const Mapping hidden(kPage, PROT_NONE, MAP_SHARED, file.get());
  char byte = 0;
  EXPECT_EQ(read_at(own_, &byte, 1, hidden.data()), 1);
  EXPECT_EQ(byte, 'f');
  EXPECT_EQ(write_at(own_, "x", 1, hidden.data()), -EIO);
  EXPECT_EQ(read_file(folder / "file"), std::string(kPage, 'f'));
  const Mapping writable(kPage, PROT_WRITE | PROT_READ, MAP_SHARED, file.get());
  EXPECT_EQ(write_at(own_, "x", 1, writable.data()), 1);
  EXPECT_EQ(read_file(folder / "file").front(), 'x');
  const Mapping beyond(2 * kPage, PROT_READ, MAP_PRIVATE, file.get());
  EXPECT_EQ(read_at(own_, &byte, 1, beyond.page(1)), -EIO);
}

// CVE-2016-5195: the copy that a forced write has just made is dropped before the write, which must
// not go to the file's page then.
TEST_F(ProcMem, AFileThatIsMappedReadOnlyIsNeverChangedWhateverRacesWithTheWrite) {
  TempFolder folder;
  const std::string contents(2 * kPage, 'f');
  write_file(folder / "file", contents);
  const Descriptor file(open((folder / "file").c_str(), O_RDONLY));
  const Mapping memory(2 * kPage, PROT_READ, MAP_PRIVATE, file.get());
  std::atomic<bool> done = false;
  std::thread dropper([&] {
    while (!done) {
      madvise(memory.data(), 2 * kPage, MADV_DONTNEED);
    }
  });
  std::string text(kPage, 'x');
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(write_at(own_, text.data(), text.size(), memory.data() + kPage / 2), long{kPage});
    // What is in memory is the copy or the file, whole.
    const unsigned char seen = read_byte(memory.data() + kPage);
    EXPECT_TRUE(seen == 'x' || seen == 'f');
  }
  done = true;
  dropper.join();
  EXPECT_EQ(read_file(folder / "file"), contents);
  madvise(memory.data(), 2 * kPage, MADV_DONTNEED);
  EXPECT_EQ(memcmp(memory.data(), contents.data(), contents.size()), 0);
}

// Runs `body` far below the page with the arguments, which the first frames of the stack share
// where the environment is small.
[[gnu::noinline]] void run_deep_in_the_stack(const std::function<void()>& body) {
  char frame[16 * kPage];
  // The compiler must believe that all of it is used, until the end.
  asm volatile("" ::"r"(&frame) : "memory");
  body();
  asm volatile("" ::"r"(&frame) : "memory");
}

TEST_F(ProcMem, ArgumentsThatTheProgramHasHiddenAreNotShown) {
  EXPECT_TRUE(passes_in_child([] {
    const std::string path = "/proc/self/cmdline";
    REQUIRE(!read_file(path).empty());
    // The arguments begin where field 48 of stat says.
    std::string stat = read_file("/proc/self/stat");
    stat = stat.substr(stat.rfind(')') + 2);
    for (int field = 3; field < 48; ++field) {
      stat = stat.substr(stat.find(' ') + 1);
    }
    auto* page = reinterpret_cast<unsigned char*>(std::stoul(stat) & ~(kPage - 1));
    std::string shown;
    bool is_readable = true;
    run_deep_in_the_stack([&shown, &is_readable, page, path] {
      // Nothing in here reads the variables outside while the page may hold them.
      std::string text;
      REQUIRE(mprotect(page, kPage, PROT_NONE) == 0);
      text = read_file(path);
      const bool readable = fault_of([&] { read_byte(page); }).signal == 0;
      REQUIRE(mprotect(page, kPage, PROT_READ | PROT_WRITE) == 0);
      shown = text;
      is_readable = readable;
    });
    REQUIRE(shown.empty());
    REQUIRE(!is_readable);
  }));
}

}  // namespace
}  // namespace holstein::guest
