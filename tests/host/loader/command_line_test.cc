// The command line: its file, what the boot entry adds, and the words in it.
#include "efi_loader/command_line.h"

#include <gtest/gtest.h>

#include "tests/host/loader/expect.h"
#include "tests/host/loader/fake_firmware.h"
#include "tests/host/loader/test_files.h"

namespace holstein::loader {
namespace {

// A line whose text is followed by bytes that must not matter.
CommandLine line_of(const std::string& text) {
  CommandLine result;
  memset(result.text, '#', sizeof(result.text));
  memcpy(result.text, text.c_str(), text.size() + 1);
  result.bytes = text.size();
  return result;
}

Result<std::string> read(const std::string& content) {
  FakeFirmware firmware;
  firmware.files[kCommandLinePath].bytes.assign(content.begin(), content.end());
  CommandLine result = line_of("");
  TRY(read_command_line(firmware, result));
  EXPECT_EQ(strlen(result.text), result.bytes);
  return std::string(result.text);
}

std::string append(const std::string& text, const std::u16string& options, size_t cut = 0) {
  CommandLine result = line_of(text);
  const std::vector<uint8_t> bytes(
      reinterpret_cast<const uint8_t*>(options.data()),
      reinterpret_cast<const uint8_t*>(options.data() + options.size()) - cut);
  const bool appended = append_load_options(result, bytes.data(), bytes.size());
  EXPECT_EQ(strlen(result.text), result.bytes);
  EXPECT_EQ(appended, result.text != text);
  return result.text;
}

TEST(CommandLine, AMissingFileIsAnEmptyLine) {
  FakeFirmware firmware;
  CommandLine result = line_of("old");
  ASSERT_TRUE(succeeds(read_command_line(firmware, result)));
  EXPECT_EQ(result.bytes, 0u);
  EXPECT_STREQ(result.text, "");
}

TEST(CommandLine, OneLineWithAnyEnd) {
  EXPECT_EQ(read("").value(), "");
  EXPECT_EQ(read("\n").value(), "");
  EXPECT_EQ(read("quiet loglevel=3").value(), "quiet loglevel=3");
  EXPECT_EQ(read("quiet\n").value(), "quiet");
  EXPECT_EQ(read("quiet\r\n").value(), "quiet");
  EXPECT_EQ(read("a\tb  c ").value(), "a b  c ");
  EXPECT_EQ(read(std::string(4095, 'a')).value(), std::string(4095, 'a'));
}

TEST(CommandLine, WhatIsNotOneLineIsRefused) {
  EXPECT_TRUE(fails_with(read("a\nb\n"),
                         "\\holstein\\cmdline is not one line of ASCII text: byte 1 is 0xa"));
  EXPECT_TRUE(fails_with(read(std::string("a\0", 2)),
                         "\\holstein\\cmdline is not one line of ASCII text: byte 1 is 0x0"));
  EXPECT_TRUE(fails_with(read("\xc3\xa9"),
                         "\\holstein\\cmdline is not one line of ASCII text: byte 0 is 0xc3"));
  EXPECT_TRUE(fails_with(read(std::string(4096, 'a')),
                         "\\holstein\\cmdline is too long: 4096 bytes, at most 4095"));
}

TEST(CommandLine, AFileThatCannotBeReadIsNoMissingFile) {
  FakeFirmware firmware;
  CommandLine result;
  firmware.files[kCommandLinePath].open_status = kDeviceError;
  EXPECT_TRUE(fails_with(read_command_line(firmware, result),
                         "\\holstein\\cmdline cannot be opened (EFI status 0x8000000000000007)"));
}

TEST(CommandLine, LoadOptionsAreAppended) {
  EXPECT_EQ(append("", u"nokaslr"), "nokaslr");
  EXPECT_EQ(append("quiet", u"nokaslr"), "quiet nokaslr");
  EXPECT_EQ(append("quiet", std::u16string(u"nokaslr\0junk", 12)), "quiet nokaslr");
  EXPECT_EQ(append("quiet", u"\\EFI\\BOOT\\BOOTX64.EFI nokaslr a"), "quiet nokaslr a");
  EXPECT_EQ(append("", u"bootx64.efi  x"), "x");
  EXPECT_EQ(append("quiet", u"bootx64.efi"), "quiet");
  EXPECT_EQ(append("quiet", u"a\tb"), "quiet a b");
}

TEST(CommandLine, OptionsThatAreNoTextAreIgnored) {
  EXPECT_EQ(append("quiet", u""), "quiet");
  EXPECT_EQ(append("quiet", u"nokaslr", 1), "quiet");
  EXPECT_EQ(append("quiet", u"no\u00e9"), "quiet");
  EXPECT_EQ(append("quiet", u"\x1f\x8b\x4e4e"), "quiet");
  EXPECT_EQ(append("quiet", std::u16string(1, u'\0')), "quiet");
  EXPECT_EQ(append("quiet", std::u16string(4090, u'a')), "quiet");
  EXPECT_EQ(append("quiet", std::u16string(4089, u'a')), "quiet " + std::string(4089, 'a'));
  EXPECT_EQ(append(std::string(4095, 'q'), u"a"), std::string(4095, 'q'));
  CommandLine none = line_of("quiet");
  EXPECT_FALSE(append_load_options(none, nullptr, 0));
}

TEST(CommandLine, WordsStandByThemselves) {
  auto has = [](const std::string& text) { return has_word(line_of(text), "nokaslr"); };
  EXPECT_TRUE(has("nokaslr"));
  EXPECT_TRUE(has("  nokaslr  "));
  EXPECT_TRUE(has("a=b nokaslr c"));
  EXPECT_TRUE(has("a=\"b c\" nokaslr"));
  EXPECT_FALSE(has(""));
  EXPECT_FALSE(has("nokasl"));
  EXPECT_FALSE(has("nokaslrs"));
  EXPECT_FALSE(has("xnokaslr"));
  EXPECT_FALSE(has("nokaslr=1"));
  EXPECT_FALSE(has("a=\"b nokaslr c\""));
  EXPECT_FALSE(has("a=\"b nokaslr"));
  EXPECT_FALSE(has("quiet -- nokaslr"));
  EXPECT_TRUE(has("nokaslr -- quiet"));
}

}  // namespace
}  // namespace holstein::loader
