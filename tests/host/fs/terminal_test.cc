// What is typed, what is echoed, what programs read: the line discipline without a machine.
#include "fs/terminal.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/host/fake/cpu.h"
#include "tests/host/fake/scheduler.h"
#include "tests/host/fs/fake_ports.h"
#include "tests/host/fs/file_tree.h"

namespace holstein::testing {
namespace {

using Signals = std::vector<std::pair<std::int32_t, int>>;
constexpr int kSigHup = 1, kSigInt = 2, kSigQuit = 3, kSigCont = 18, kSigTstp = 20, kSigTtin = 21,
              kSigTtou = 22, kSigWinch = 28;
constexpr int kEIO = static_cast<int>(Errno::kEIO);

class Screen final : public TerminalOutput {
 public:
  Result<std::size_t> write(std::span<const std::byte> bytes) override {
    if (gone) return fail(Errno::kEIO);
    const std::size_t size = std::min(bytes.size(), room);
    if (size == 0) return fail(Errno::kEAGAIN);
    if (room != SIZE_MAX) room -= size;
    shown.append(reinterpret_cast<const char*>(bytes.data()), size);
    return size;
  }
  bool is_writable() override { return room != 0; }
  WaitQueue& writable() override { return queue; }
  std::string take() { return std::exchange(shown, {}); }

  std::string shown;
  std::size_t room = SIZE_MAX;
  bool gone = false;
  WaitQueue queue;
};

struct TestTerminal final : Terminal {
  explicit TestTerminal(TerminalOutput& screen) : Terminal("test", make_device(4, 1), screen) {}
};

class TerminalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fake_caller() = {};
    take_sent_signals();
  }
  void TearDown() override {
    terminal.validate();
    fake_caller() = {};
  }

  void type(const std::string& keys) {
    EXPECT_EQ(terminal.receive(std::as_bytes(std::span(keys))), keys.size());
    terminal.validate();
  }
  std::string read(std::size_t size = 1000, bool nonblocking = true) {
    std::string text(size, '\0');
    IoSink sink = IoSink::to_kernel(std::as_writable_bytes(std::span(text)));
    const Result<std::size_t> done = terminal.read(sink, nonblocking);
    if (!done.has_value()) return "errno " + std::to_string(code_of(done));
    text.resize(*done);
    return text;
  }
  int write(const std::string& text, bool nonblocking = false) {
    IoSource source = source_of(text);
    return code_of(terminal.write(source, nonblocking));
  }
  template <class Change>
  void set(Change change) {
    Termios termios = terminal.settings();
    change(termios);
    terminal.change_settings(termios);
  }
  void set_raw(std::uint8_t minimum = 1, std::uint8_t tenths = 0) {
    set([=](Termios& termios) {
      termios.local &= ~(kIcanon | kEcho | kIsig);
      termios.input &= ~(kIcrnl | kIxon);
      termios.characters[kVmin] = minimum;
      termios.characters[kVtime] = tenths;
    });
  }

  Screen screen;
  TestTerminal terminal{screen};
};

TEST_F(TerminalTest, ALineIsReadWhenItIsDone) {
  type("hel");
  EXPECT_EQ(read(), "errno 11");
  EXPECT_EQ(terminal.poll(nullptr) & kPollIn, 0u);
  type("lo\rnext");
  EXPECT_EQ(terminal.poll(nullptr) & kPollIn, kPollIn);
  EXPECT_EQ(read(), "hello\n");
  EXPECT_EQ(read(), "errno 11");
  type("\n");
  EXPECT_EQ(read(), "next\n");
  EXPECT_EQ(screen.take(), "hello\r\nnext\r\n");
}

TEST_F(TerminalTest, LinesAreReadOneByOneAndInPieces) {
  type("one\ntwo\nthree\n");
  EXPECT_EQ(read(), "one\n");
  EXPECT_EQ(read(2), "tw");
  EXPECT_EQ(read(2), "o\n");
  EXPECT_EQ(read(), "three\n");
}

TEST_F(TerminalTest, EndOfFile) {
  type("\x04");
  EXPECT_EQ(read(), "");
  EXPECT_EQ(read(), "errno 11");
  type("abc\x04");  // ends the line without being in it
  EXPECT_EQ(read(), "abc");
  EXPECT_EQ(read(), "errno 11");
  type("abc\x04");
  EXPECT_EQ(read(3), "abc");  // the mark goes with the last byte
  EXPECT_EQ(read(), "errno 11");
  type("abc\x04");
  EXPECT_EQ(read(2), "ab");
  EXPECT_EQ(read(), "c");
  EXPECT_EQ(read(), "errno 11");
}

TEST_F(TerminalTest, EditingTheLine) {
  const struct {
    const char* keys;
    const char* line;
    const char* screen;
  } cases[] = {
      {"ab\x7f\x63\n", "ac\n", "ab\b \bc\r\n"},
      {"\x7f\x7fx\n", "x\n", "x\r\n"},
      {"ab\x15\x78\n", "x\n", "ab\b \b\b \bx\r\n"},
      {"one two\x17three\n", "one three\n", "one two\b \b\b \b\b \bthree\r\n"},
      {"one two  \x17\n", "one \n", "one two  \b \b\b \b\b \b\b \b\b \b\r\n"},
      {"a\x01\x7f\x62\n", "ab\n", "a^A\b \b\b \bb\r\n"},
      {"a\tb\x7f\x7f\x63\n", "ac\n", "a\tb\b \b\b\b\b\b\b\b\bc\r\n"},
      {"a\x16\x03\x62\n",
       "a\x03"
       "b\n",
       "a^\b^Cb\r\n"},
      {"a\x16\n\n", "a\n\n", nullptr},
      {"ab\x12\x63\n", "abc\n", "ab^R\r\nabc\r\n"},
  };
  for (const auto& test : cases) {
    type(test.keys);
    std::string line = read();
    if (std::string_view(test.line).find('\n') + 1 != std::string_view(test.line).size()) {
      EXPECT_EQ(line, test.line);
    } else {
      EXPECT_EQ(line, test.line) << test.keys;
    }
    if (test.screen != nullptr) EXPECT_EQ(screen.take(), test.screen) << test.keys;
    screen.take();
    while (read() != "errno 11") {
    }
  }
}

TEST_F(TerminalTest, AWholeUtf8CharacterIsErased) {
  set([](Termios& termios) { termios.input |= kIutf8; });
  type("a\xc3\xa4\x7f\n");
  EXPECT_EQ(read(), "a\n");
  EXPECT_EQ(screen.take(), "a\xc3\xa4\b \b\r\n");
}

TEST_F(TerminalTest, EchoAsItIsSet) {
  set([](Termios& termios) { termios.local &= ~kEcho; });
  type("secret\n");
  EXPECT_EQ(screen.take(), "");
  set([](Termios& termios) { termios.local |= kEchonl; });
  type("secret\n");
  EXPECT_EQ(screen.take(), "\r\n");
  set([](Termios& termios) {
    termios.local |= kEcho;
    termios.local &= ~kEchoctl;
  });
  type("\x01\n");
  EXPECT_EQ(screen.take(), "\x01\r\n");
}

TEST_F(TerminalTest, CarriageReturnsAndNewlines) {
  set([](Termios& termios) { termios.input = kIgncr; });
  type("a\rb\n");
  EXPECT_EQ(read(), "ab\n");
  set([](Termios& termios) { termios.input = kInlcr; });
  type("a\n");
  EXPECT_EQ(read(), "errno 11");  // became a carriage return, which ends no line
  set([](Termios& termios) { termios.input = kIcrnl; });
  type("\r");
  EXPECT_EQ(read(), "a\r\n");
}

TEST_F(TerminalTest, ALineThatIsTooLongKeepsItsEnd) {
  type(std::string(5000, 'x'));
  type("\n");
  EXPECT_EQ(read(10000), std::string(4095, 'x') + "\n");
}

TEST_F(TerminalTest, KeysWaitWhileTheBufferIsFull) {
  set_raw();
  const std::string keys(65536 + 10, 'k');
  EXPECT_EQ(terminal.receive(std::as_bytes(std::span(keys))), 65536u);
  EXPECT_EQ(read(6).size(), 6u);
  ASSERT_TRUE(terminal.wait_for_room().has_value());
  EXPECT_EQ(terminal.receive(std::as_bytes(std::span(keys).first(10))), 6u);
}

TEST_F(TerminalTest, SignalsOfKeys) {
  ASSERT_TRUE(terminal.adopt_session().has_value());
  type("lost\x03");
  EXPECT_EQ(take_sent_signals(), (Signals{{100, kSigInt}}));
  EXPECT_EQ(screen.take(), "lost^C");
  type("new\n");
  EXPECT_EQ(read(), "new\n");  // the signal flushed what was typed before
  type("\x1c\x1a");
  EXPECT_EQ(take_sent_signals(), (Signals{{100, kSigQuit}, {100, kSigTstp}}));
  set([](Termios& termios) { termios.local |= kNoflsh; });
  type("kept\x03\n");
  EXPECT_EQ(take_sent_signals(), (Signals{{100, kSigInt}}));
  EXPECT_EQ(read(), "kept\n");
  set([](Termios& termios) { termios.local &= ~kIsig; });
  type("\x03\n");
  EXPECT_EQ(take_sent_signals(), Signals{});
  EXPECT_EQ(read(), "\x03\n");
  // A control character that is switched off is an ordinary one: even NUL.
  set([](Termios& termios) {
    termios.local |= kIsig;
    termios.characters[kVintr] = 0;
  });
  type(std::string("\0\n", 2));
  EXPECT_EQ(take_sent_signals(), Signals{});
  EXPECT_EQ(read(), std::string("\0\n", 2));
}

TEST_F(TerminalTest, RawReadsByCountAndTime) {
  set_raw();
  type("ab\r\x03\x04");
  EXPECT_EQ(read(), "ab\r\x03\x04");
  EXPECT_EQ(read(), "errno 11");
  set_raw(0, 0);
  EXPECT_EQ(read(1000, false), "");
  type("x");
  EXPECT_EQ(read(1000, false), "x");
  set_raw(3, 0);
  type("12");
  EXPECT_EQ(terminal.poll(nullptr) & kPollIn, 0u);
  type("3");
  EXPECT_EQ(terminal.poll(nullptr) & kPollIn, kPollIn);
  EXPECT_EQ(read(1000, false), "123");
  type("12");
  EXPECT_EQ(read(2, false), "12");  // as many as were asked for
}

TEST_F(TerminalTest, RawReadsEndByTime) {
  set_raw(0, 2);
  std::thread later([] { fake::advance_clock_ns(300'000'000); });
  EXPECT_EQ(read(1000, false), "");
  later.join();
  set_raw(5, 1);
  type("ab");
  std::thread again([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    fake::advance_clock_ns(200'000'000);
  });
  EXPECT_EQ(read(1000, false), "ab");
  again.join();
}

TEST_F(TerminalTest, WhatWasTypedSurvivesAChangeOfMode) {
  type("line\npart");
  set_raw();
  EXPECT_EQ(read(), "line\npart");
  type("raw");
  set([](Termios& termios) { termios.local |= kIcanon; });
  EXPECT_EQ(read(), "raw");
}

TEST_F(TerminalTest, OutputProcessing) {
  EXPECT_EQ(write("a\tb\nc\r\n"), 0);
  EXPECT_EQ(screen.take(), "a\tb\r\nc\r\r\n");
  set([](Termios& termios) { termios.output |= kTabExpand; });
  EXPECT_EQ(write("ab\tc\n\tx\n"), 0);
  EXPECT_EQ(screen.take(), "ab      c\r\n        x\r\n");
  set([](Termios& termios) { termios.output = kOpost | kOcrnl; });
  EXPECT_EQ(write("a\r\n"), 0);
  EXPECT_EQ(screen.take(), "a\n\n");
  set([](Termios& termios) { termios.output = 0; });
  const std::string all = [] {
    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
    return bytes;
  }();
  EXPECT_EQ(write(all), 0);
  EXPECT_EQ(screen.take(), all);
}

TEST_F(TerminalTest, AScreenThatTakesNoMoreHoldsTheWriterUp) {
  screen.room = 100;
  const std::string text(20000, 'x');
  std::thread writer([&] { EXPECT_EQ(write(text), 0); });
  std::size_t shown = 0;
  while (shown < text.size()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const std::uint32_t events = terminal.poll(nullptr);  // sends what can be sent
    (void)events;
    shown = screen.shown.size();
    if (screen.room == 0) {
      screen.room = 5000;
      screen.queue.wake_all();
    }
  }
  writer.join();
  EXPECT_EQ(screen.take(), text);
  screen.room = 0;
  IoSource source = source_of(text);
  const Result<std::size_t> done = terminal.write(source, true);
  ASSERT_TRUE(done.has_value());
  EXPECT_LT(*done, text.size());
  EXPECT_EQ(write("y", true), static_cast<int>(Errno::kEAGAIN));
}

TEST_F(TerminalTest, StopAndStart) {
  type("\x13");
  EXPECT_EQ(write("held", true), 0);
  EXPECT_EQ(screen.take(), "");
  EXPECT_EQ(terminal.poll(nullptr) & kPollOut, 0u);
  type("\x11");
  EXPECT_EQ(screen.take(), "held");
}

TEST_F(TerminalTest, ReadingFromTheBackground) {
  ASSERT_TRUE(terminal.adopt_session().has_value());
  type("x\n");
  fake_caller().group = 101;
  EXPECT_EQ(read(), "errno 512");
  EXPECT_EQ(take_sent_signals(), (Signals{{101, kSigTtin}}));
  fake_caller().ignored_signals = 1u << kSigTtin;
  EXPECT_EQ(read(), "errno " + std::to_string(kEIO));
  fake_caller().ignored_signals = 0;
  fake_caller().group_is_orphaned = true;
  EXPECT_EQ(read(), "errno " + std::to_string(kEIO));
  EXPECT_EQ(take_sent_signals(), Signals{});
  // Another session is not in the background: it is no terminal of its own at all.
  fake_caller() = {.group = 200, .session = 200};
  EXPECT_EQ(read(), "x\n");
}

TEST_F(TerminalTest, WritingFromTheBackground) {
  ASSERT_TRUE(terminal.adopt_session().has_value());
  fake_caller().group = 101;
  EXPECT_EQ(write("fine\n"), 0);
  set([](Termios& termios) { termios.local |= kTostop; });
  EXPECT_EQ(write("stopped\n"), 512);
  EXPECT_EQ(take_sent_signals(), (Signals{{101, kSigTtou}}));
  fake_caller().ignored_signals = 1u << kSigTtou;
  EXPECT_EQ(write("fine\n"), 0);
}

TEST_F(TerminalTest, OneSessionOwnsATerminal) {
  fake_caller().leads_session = false;
  EXPECT_FALSE(terminal.adopt_session().has_value());
  fake_caller().leads_session = true;
  ASSERT_TRUE(terminal.adopt_session().has_value());
  EXPECT_EQ(terminal.session(), 100);
  EXPECT_EQ(terminal.foreground_group(), 100);
  fake_caller() = {.pid = 200, .group = 200, .session = 200};
  EXPECT_FALSE(terminal.adopt_session().has_value());
  terminal.session_ended();
  EXPECT_EQ(take_sent_signals(), (Signals{{100, kSigHup}, {100, kSigCont}}));
  EXPECT_TRUE(terminal.adopt_session().has_value());
}

TEST_F(TerminalTest, WindowSize) {
  ASSERT_TRUE(terminal.adopt_session().has_value());
  terminal.set_window_size({.rows = 24, .columns = 80, .width_pixels = 0, .height_pixels = 0});
  terminal.set_window_size({.rows = 24, .columns = 80, .width_pixels = 0, .height_pixels = 0});
  EXPECT_EQ(take_sent_signals(), (Signals{{100, kSigWinch}}));
}

TEST_F(TerminalTest, HangUp) {
  ASSERT_TRUE(terminal.adopt_session().has_value());
  std::string result;
  std::thread reader([&] {
    fake_caller() = {.group = 200, .session = 200};
    result = read(10, false);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  terminal.hang_up();
  reader.join();
  EXPECT_EQ(result, "");
  EXPECT_EQ(take_sent_signals(), (Signals{{-100, kSigHup}, {-100, kSigCont}}));
  EXPECT_EQ(write("x"), kEIO);
  EXPECT_NE(terminal.poll(nullptr) & kPollHangUp, 0u);
}

TEST_F(TerminalTest, ControlCalls) {
  ASSERT_TRUE(terminal.adopt_session().has_value());
  const auto user = [](auto& object) { return reinterpret_cast<std::uint64_t>(&object); };
  Termios termios{};
  EXPECT_EQ(code_of(terminal.ioctl(kTcgets, user(termios))), 0);
  EXPECT_EQ(termios.characters[kVintr], 3);
  EXPECT_EQ(termios.control & 0x30, kCs8);
  termios.local &= ~kEcho;
  type("typed before");
  EXPECT_EQ(code_of(terminal.ioctl(kTcsetsf, user(termios))), 0);
  EXPECT_EQ(terminal.settings().local & kEcho, 0u);
  type("after\n");
  EXPECT_EQ(read(), "after\n");
  WindowSize size{.rows = 50, .columns = 132, .width_pixels = 1, .height_pixels = 2};
  EXPECT_EQ(code_of(terminal.ioctl(kTiocswinsz, user(size))), 0);
  size = {};
  EXPECT_EQ(code_of(terminal.ioctl(kTiocgwinsz, user(size))), 0);
  EXPECT_EQ(size.rows, 50);
  EXPECT_EQ(size.columns, 132);
  std::int32_t number = 0;
  EXPECT_EQ(code_of(terminal.ioctl(kTiocgpgrp, user(number))), 0);
  EXPECT_EQ(number, 100);
  EXPECT_EQ(code_of(terminal.ioctl(kTiocgsid, user(number))), 0);
  EXPECT_EQ(number, 100);
  number = 150;
  EXPECT_EQ(code_of(terminal.ioctl(kTiocspgrp, user(number))), 0);
  EXPECT_EQ(terminal.foreground_group(), 150);
  number = 250;
  fake_caller().group = 150;
  EXPECT_EQ(code_of(terminal.ioctl(kTiocspgrp, user(number))), static_cast<int>(Errno::kEPERM));
  number = -1;
  EXPECT_EQ(code_of(terminal.ioctl(kTiocspgrp, user(number))), static_cast<int>(Errno::kEINVAL));
  type("12345\n");
  EXPECT_EQ(code_of(terminal.ioctl(kFionread, user(number))), 0);
  EXPECT_EQ(number, 6);
  EXPECT_EQ(code_of(terminal.ioctl(kTcflsh, 0)), 0);
  EXPECT_EQ(read(), "errno 11");
  EXPECT_EQ(code_of(terminal.ioctl(kTcflsh, 3)), static_cast<int>(Errno::kEINVAL));
  EXPECT_EQ(code_of(terminal.ioctl(0x1234, 0)), static_cast<int>(Errno::kENOTTY));
  EXPECT_EQ(code_of(terminal.ioctl(kTcgets, UINT64_MAX)), static_cast<int>(Errno::kEFAULT));
  fake_caller().session = 200;
  EXPECT_EQ(code_of(terminal.ioctl(kTiocgpgrp, user(number))), static_cast<int>(Errno::kENOTTY));
}

}  // namespace
}  // namespace holstein::testing
