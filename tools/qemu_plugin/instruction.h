// What the profiler must know of an x86-64 instruction: whether it calls, returns or is a mark.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace holstein::profiler {

enum class InstructionKind : uint8_t {
  kOther,
  kCall,
  kReturn,
  kInterruptReturn,
  kBeginMark,  // profile_marks.h
  kEndMark,
};

// `bytes` is one whole instruction. Far calls and returns, which no 64-bit code of ours has, are
// kOther. (Intel SDM volume 2: CALL, RET, IRET.)
inline InstructionKind classify(std::span<const uint8_t> bytes) {
  static constexpr size_t kMarkBytes = 7;
  if (bytes.size() == kMarkBytes && bytes[0] == 0x0F && bytes[1] == 0x1F && bytes[2] == 0x80 &&
      bytes[3] == 'H' && bytes[4] == 'P') {
    if (bytes[5] == 'b' && bytes[6] == '+') return InstructionKind::kBeginMark;
    if (bytes[5] == 'e' && bytes[6] == '-') return InstructionKind::kEndMark;
  }
  size_t at = 0;
  bool is_rex_w = false;
  for (; at < bytes.size(); ++at) {
    const uint8_t byte = bytes[at];
    const bool is_rex = (byte & 0xF0) == 0x40;
    const bool is_prefix = byte == 0x2E || byte == 0x36 || byte == 0x3E || byte == 0x26 ||
                           byte == 0x64 || byte == 0x65 || byte == 0x66 || byte == 0xF2 ||
                           byte == 0xF3;
    if (!is_rex && !is_prefix) break;
    is_rex_w = is_rex && (byte & 0x08) != 0;
  }
  if (at == bytes.size()) return InstructionKind::kOther;
  switch (bytes[at]) {
    case 0xE8:
      return InstructionKind::kCall;
    case 0xC2:
    case 0xC3:
      return InstructionKind::kReturn;
    case 0xCF:
      return is_rex_w ? InstructionKind::kInterruptReturn : InstructionKind::kOther;
    case 0xFF:  // CALL r/m64 is /2
      return at + 1 < bytes.size() && (bytes[at + 1] >> 3 & 7) == 2 ? InstructionKind::kCall
                                                                    : InstructionKind::kOther;
    default:
      return InstructionKind::kOther;
  }
}

}  // namespace holstein::profiler
