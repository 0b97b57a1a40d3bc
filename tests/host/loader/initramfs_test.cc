// What if the initramfs is missing, cut anywhere, or no archive?
#include "efi_loader/initramfs.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/host/loader/expect.h"
#include "tests/host/loader/fake_firmware.h"
#include "tests/host/loader/test_files.h"

namespace holstein::loader {
namespace {

Result<Initramfs> load_bytes(const std::vector<uint8_t>& bytes) {
  FakeFirmware firmware;
  firmware.files[kInitramfsPath].bytes = bytes;
  return load_initramfs(firmware);
}

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

TEST(Initramfs, ARightArchiveLiesInMemoryAsInTheFile) {
  FakeFirmware firmware;
  const std::vector<uint8_t> archive = test_initramfs();
  firmware.files[kInitramfsPath].bytes = archive;
  const auto initramfs = load_initramfs(firmware);
  ASSERT_TRUE(succeeds(initramfs));
  EXPECT_EQ(initramfs->bytes, archive.size());
  EXPECT_EQ(initramfs->physical % 4096, 0u);
  EXPECT_TRUE(firmware.is_allocated(initramfs->physical, MemoryType::kLoaderData));
  const uint8_t* memory = firmware.memory_at(initramfs->physical);
  EXPECT_EQ(memcmp(memory, archive.data(), archive.size()), 0);
  for (uint64_t i = archive.size(); i % 4096 != 0; ++i) ASSERT_EQ(memory[i], 0) << i;
}

TEST(Initramfs, CountsEntriesUpToTheTrailer) {
  std::vector<uint8_t> archive = test_initramfs();
  EXPECT_EQ(check_cpio(archive).value(), 3u);
  archive.resize(archive.size() + 512);  // cpio pads to its block size
  EXPECT_EQ(check_cpio(archive).value(), 3u);
  archive[5] = '2';  // with checksums
  EXPECT_EQ(check_cpio(archive).value(), 3u);
}

TEST(Initramfs, CutAtEveryLength) {
  const std::vector<uint8_t> archive = test_initramfs();
  // The padding after the trailer's name may be missing, nothing else.
  const uint64_t whole = archive.size() - 3;
  for (uint64_t length = 1; length < whole; ++length) {
    // A buffer of its own, so that a read beyond the end is seen.
    const std::vector<uint8_t> cut(archive.begin(), archive.begin() + length);
    const auto entries = check_cpio(cut);
    ASSERT_FALSE(entries.has_value()) << length;
    const std::string message = entries.error().message.c_str();
    ASSERT_TRUE(message.contains("too short") || message.contains("cut short")) << message;
  }
}

TEST(Initramfs, Messages) {
  FakeFirmware firmware;
  EXPECT_TRUE(fails_with(load_initramfs(firmware),
                         "\\holstein\\initramfs.cpio is missing from the boot volume"));
  EXPECT_TRUE(fails_with(load_bytes({}), "\\holstein\\initramfs.cpio is empty"));
  EXPECT_TRUE(fails_with(load_bytes(bytes_of("0707")),
                         "initramfs.cpio is too short for a cpio archive: 4 bytes"));
  EXPECT_TRUE(fails_with(load_bytes(bytes_of(std::string(200, 'x'))),
                         "initramfs.cpio is not a cpio archive in the newc format"));
  EXPECT_TRUE(fails_with(load_bytes(bytes_of("070707" + std::string(200, '0'))),
                         "initramfs.cpio is not a cpio archive in the newc format"));
  EXPECT_TRUE(fails_with(load_bytes(bytes_of("\x1f\x8b" + std::string(200, '0'))),
                         "initramfs.cpio is not a cpio archive in the newc format; it is "
                         "compressed"));
  std::vector<uint8_t> archive;
  add_entry(archive, "TRAILER!!!", "");
  EXPECT_TRUE(fails_with(load_bytes(archive), "initramfs.cpio holds no files"));
  archive.clear();
  add_entry(archive, "a", "");
  EXPECT_TRUE(fails_with(load_bytes(archive),
                         "initramfs.cpio is cut short: no TRAILER!!! after 1 entries"));
  archive = test_initramfs();
  archive[116] = 'Q';  // the second header: 110 + "bin\0", padded to 4
  EXPECT_TRUE(
      fails_with(load_bytes(archive), "initramfs.cpio is damaged: no cpio header at byte 116"));
  archive = test_initramfs();
  archive[54] = 'g';
  EXPECT_TRUE(fails_with(load_bytes(archive),
                         "initramfs.cpio is damaged: bad numbers in the cpio header at byte 0"));
  archive = test_initramfs();
  memcpy(archive.data() + 94, "00000000", 8);
  EXPECT_TRUE(fails_with(load_bytes(archive),
                         "initramfs.cpio is damaged: bad numbers in the cpio header at byte 0"));
  memcpy(archive.data() + 94, "FFFFFFFF", 8);
  EXPECT_TRUE(fails_with(load_bytes(archive),
                         "initramfs.cpio is damaged: bad numbers in the cpio header at byte 0"));
  archive = test_initramfs();
  archive[110 + 3] = 'x';
  EXPECT_TRUE(fails_with(load_bytes(archive),
                         "initramfs.cpio is damaged: a name without an end at byte 110"));
  archive = test_initramfs();
  memcpy(archive.data() + 54, "ffffffff", 8);
  EXPECT_TRUE(fails_with(load_bytes(archive),
                         "initramfs.cpio is cut short: the entry at byte 0 reaches beyond its " +
                             std::to_string(archive.size()) + " bytes"));
}

TEST(Initramfs, RandomDamageIsNeverReadBeyondTheEnd) {
  std::mt19937_64 random(7);
  const std::vector<uint8_t> archive = test_initramfs();
  for (int round = 0; round < 100000; ++round) {
    std::vector<uint8_t> damaged = archive;
    for (uint64_t hits = 1 + random() % 4; hits > 0; --hits) {
      const uint64_t at = random() % 2 == 0 ? random() % 240 : random() % damaged.size();
      damaged[at] = "0123456789abcdefABCDEFxyz"[random() % 25];
    }
    (void)check_cpio(damaged);
  }
}

TEST(Initramfs, LargeFilesAreReadInLargePiecesWithProgress) {
  FakeFirmware firmware(256 * kMiB);
  std::vector<uint8_t> archive;
  add_entry(archive, "big", std::string(150 * kMiB, '.'));
  add_entry(archive, "TRAILER!!!", "");
  firmware.files[kInitramfsPath].bytes = archive;
  ASSERT_TRUE(succeeds(load_initramfs(firmware)));
  EXPECT_EQ(firmware.largest_read, 16 * kMiB);
  EXPECT_EQ(firmware.console,
            "\rholstein loader: initramfs.cpio: 64 of 150 MiB"
            "\rholstein loader: initramfs.cpio: 128 of 150 MiB"
            "\rholstein loader: initramfs.cpio: 150 of 150 MiB\r\n");
  EXPECT_EQ(firmware.allocated_pages(), (archive.size() + 4095) / 4096);
}

TEST(Initramfs, TooLittleMemorySaysHowMuch) {
  FakeFirmware firmware(32 * kMiB);
  firmware.files[kInitramfsPath].claimed_bytes = 40 * kMiB + 1;
  EXPECT_TRUE(fails_with(load_initramfs(firmware),
                         "not enough memory: 40964 KiB needed for initramfs.cpio, 32760 KiB "
                         "available (32760 KiB in one piece)"));
  EXPECT_EQ(firmware.allocated_pages(), 0u);
}

TEST(Initramfs, TheFirmwareMisreads) {
  FakeFirmware firmware;
  FakeFile& file = firmware.files[kInitramfsPath];
  const std::vector<uint8_t> archive = test_initramfs();
  file.bytes = archive;
  file.most_per_read = 100;
  EXPECT_TRUE(succeeds(load_initramfs(firmware)));
  file.most_per_read = 0;
  EXPECT_TRUE(fails_with(load_initramfs(firmware), "initramfs.cpio ended after 0 bytes of " +
                                                       std::to_string(archive.size())));
  file.most_per_read = UINT64_MAX;
  file.claimed_bytes = archive.size() + 5;
  EXPECT_TRUE(fails_with(load_initramfs(firmware),
                         "initramfs.cpio ended after " + std::to_string(archive.size()) +
                             " bytes of " + std::to_string(archive.size() + 5)));
  file.claimed_bytes = UINT64_MAX - 1;
  EXPECT_TRUE(fails_with(load_initramfs(firmware),
                         "\\holstein\\initramfs.cpio claims the absurd size of "
                         "0xfffffffffffffffe bytes"));
  file.claimed_bytes = UINT64_MAX;
  file.extra_per_read = 1;
  EXPECT_TRUE(fails_with(load_initramfs(firmware),
                         "initramfs.cpio: the firmware read " + std::to_string(archive.size() + 1) +
                             " bytes where " + std::to_string(archive.size()) + " were asked for"));
  file.extra_per_read = 0;
  file.read_status = kDeviceError;
  EXPECT_TRUE(fails_with(load_initramfs(firmware),
                         "initramfs.cpio: reading byte 0 failed (EFI status 0x8000000000000007)"));
  file.seek_status = kUnsupported;
  EXPECT_TRUE(fails_with(load_initramfs(firmware),
                         "initramfs.cpio: seek to byte 0 failed (EFI status 0x8000000000000003)"));
  file.is_folder = true;
  EXPECT_TRUE(
      fails_with(load_initramfs(firmware), "\\holstein\\initramfs.cpio is a folder, not a file"));
  file.open_status = kVolumeCorrupted;
  EXPECT_TRUE(fails_with(load_initramfs(firmware),
                         "\\holstein\\initramfs.cpio cannot be opened (EFI status "
                         "0x800000000000000a)"));
}

}  // namespace
}  // namespace holstein::loader
