// struct termios and its kin, as Linux's x86-64 ABI has them (termios(3), ioctl_tty(2)).
#pragma once

#include <cstdint>

namespace holstein {

inline constexpr unsigned kControlCharacters = 19;

// The kernel's struct termios (TCGETS).
struct Termios {
  std::uint32_t input = 0;
  std::uint32_t output = 0;
  std::uint32_t control = 0;
  std::uint32_t local = 0;
  std::uint8_t line = 0;
  std::uint8_t characters[kControlCharacters] = {};
};
static_assert(sizeof(Termios) == 36);

struct WindowSize {
  std::uint16_t rows;
  std::uint16_t columns;
  std::uint16_t width_pixels;
  std::uint16_t height_pixels;
};
static_assert(sizeof(WindowSize) == 8);

// Indices of Termios::characters.
inline constexpr unsigned kVintr = 0, kVquit = 1, kVerase = 2, kVkill = 3, kVeof = 4, kVtime = 5,
                          kVmin = 6, kVswtc = 7, kVstart = 8, kVstop = 9, kVsusp = 10, kVeol = 11,
                          kVreprint = 12, kVdiscard = 13, kVwerase = 14, kVlnext = 15, kVeol2 = 16;

// Termios::input.
inline constexpr std::uint32_t kIgnbrk = 0x1, kBrkint = 0x2, kIgnpar = 0x4, kParmrk = 0x8,
                               kInpck = 0x10, kIstrip = 0x20, kInlcr = 0x40, kIgncr = 0x80,
                               kIcrnl = 0x100, kIuclc = 0x200, kIxon = 0x400, kIxany = 0x800,
                               kIxoff = 0x1000, kImaxbel = 0x2000, kIutf8 = 0x4000;
// Termios::output.
inline constexpr std::uint32_t kOpost = 0x1, kOlcuc = 0x2, kOnlcr = 0x4, kOcrnl = 0x8,
                               kOnocr = 0x10, kOnlret = 0x20, kOfill = 0x40, kTabMask = 0x1800,
                               kTabExpand = 0x1800;
// Termios::control.
inline constexpr std::uint32_t kBaudMask = 0x100f, kB38400 = 0xf, kCs8 = 0x30, kCread = 0x80,
                               kHupcl = 0x400;
// Termios::local.
inline constexpr std::uint32_t kIsig = 0x1, kIcanon = 0x2, kXcase = 0x4, kEcho = 0x8, kEchoe = 0x10,
                               kEchok = 0x20, kEchonl = 0x40, kNoflsh = 0x80, kTostop = 0x100,
                               kEchoctl = 0x200, kEchoprt = 0x400, kEchoke = 0x800,
                               kFlusho = 0x1000, kPendin = 0x4000, kIexten = 0x8000;

// The settings of a new terminal, as Linux's tty_std_termios.
Termios default_termios();

// ioctl_tty(2).
inline constexpr std::uint32_t kTcgets = 0x5401, kTcsets = 0x5402, kTcsetsw = 0x5403,
                               kTcsetsf = 0x5404, kTcgeta = 0x5405, kTcseta = 0x5406,
                               kTcsetaw = 0x5407, kTcsetaf = 0x5408, kTcsbrk = 0x5409,
                               kTcxonc = 0x540a, kTcflsh = 0x540b, kTiocexcl = 0x540c,
                               kTiocnxcl = 0x540d, kTiocsctty = 0x540e, kTiocgpgrp = 0x540f,
                               kTiocspgrp = 0x5410, kTiocoutq = 0x5411, kTiocsti = 0x5412,
                               kTiocgwinsz = 0x5413, kTiocswinsz = 0x5414, kTiocmget = 0x5415,
                               kFionread = 0x541b, kTiocnotty = 0x5422, kTiocgetd = 0x5424,
                               kTcsbrkp = 0x5425, kTiocgsid = 0x5429, kFionbio = 0x5421,
                               kTcgets2 = 0x802c542a, kTcsets2 = 0x402c542b, kTcsetsw2 = 0x402c542c,
                               kTcsetsf2 = 0x402c542d;

}  // namespace holstein
