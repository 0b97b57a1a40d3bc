#include "fs/termios.h"

namespace holstein {

Termios default_termios() {
  Termios termios;
  termios.input = kIcrnl | kIxon;
  termios.output = kOpost | kOnlcr;
  termios.control = kB38400 | kCs8 | kCread | kHupcl;
  termios.local = kIsig | kIcanon | kEcho | kEchoe | kEchok | kEchoctl | kEchoke | kIexten;
  auto& characters = termios.characters;
  characters[kVintr] = 3;     // ^C
  characters[kVquit] = 28;    // ^backslash
  characters[kVerase] = 127;  // DEL
  characters[kVkill] = 21;    // ^U
  characters[kVeof] = 4;      // ^D
  characters[kVtime] = 0;
  characters[kVmin] = 1;
  characters[kVstart] = 17;    // ^Q
  characters[kVstop] = 19;     // ^S
  characters[kVsusp] = 26;     // ^Z
  characters[kVreprint] = 18;  // ^R
  characters[kVdiscard] = 15;  // ^O
  characters[kVwerase] = 23;   // ^W
  characters[kVlnext] = 22;    // ^V
  return termios;
}

}  // namespace holstein
