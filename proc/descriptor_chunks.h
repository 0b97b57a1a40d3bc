// What a descriptor table is made of; shared between tables by fork. Only file_table.cc changes it.
#pragma once

#include <cstdint>

#include "fs/file.h"
#include "lib/ref.h"
#include "lib/result.h"
#include "lib/vec.h"

namespace holstein {

// 256 descriptors in a row. Immutable while it has more than one owner.
struct DescriptorChunk : RefCounted<DescriptorChunk> {
  static constexpr std::uint32_t kDescriptors = 256;
  static constexpr std::uint32_t kWords = kDescriptors / 64;

  // A copy that owns the same files. ENOMEM.
  Result<RefPtr<DescriptorChunk>> copy() const;
  // Both give kDescriptors where there is none from `from` on.
  std::uint32_t first_free(std::uint32_t from) const;
  std::uint32_t first_used(std::uint32_t from) const;
  bool has_marked() const {
    return (close_on_exec[0] | close_on_exec[1] | close_on_exec[2] | close_on_exec[3]) != 0;
  }

  RefPtr<File> files[kDescriptors];
  std::uint64_t used[kWords] = {};
  std::uint64_t close_on_exec[kWords] = {};
  std::uint32_t count = 0;
};

// The chunks of a table by number; null where nothing was ever open. Immutable while shared.
class DescriptorDirectory : public RefCounted<DescriptorDirectory> {
 public:
  Vec<RefPtr<DescriptorChunk>> chunks;
};

}  // namespace holstein
