// Chunks of 256 descriptors under a directory of chunks. Both are counted objects that fork shares;
// whoever finds more than one owner copies before it changes anything.
#include "proc/file_table.h"

#include <algorithm>
#include <bit>
#include <new>

#include "lib/panic.h"
#include "lib/vec.h"
#include "proc/descriptor_chunks.h"
#include "proc/limits.h"
#include "uaccess/speculation.h"

namespace holstein {

namespace {

std::uint32_t chunk_of(Descriptor descriptor) {
  return static_cast<std::uint32_t>(descriptor) / DescriptorChunk::kDescriptors;
}
std::uint32_t index_of(Descriptor descriptor) {
  return static_cast<std::uint32_t>(descriptor) % DescriptorChunk::kDescriptors;
}

}  // namespace

Result<RefPtr<DescriptorChunk>> DescriptorChunk::copy() const {
  auto chunk = RefPtr<DescriptorChunk>::adopt(new (std::nothrow) DescriptorChunk);
  if (!chunk) {
    return fail(Errno::kENOMEM);
  }
  for (std::uint32_t i = 0; i < kDescriptors; ++i) {
    chunk->files[i] = files[i];
  }
  std::copy(std::begin(used), std::end(used), chunk->used);
  std::copy(std::begin(close_on_exec), std::end(close_on_exec), chunk->close_on_exec);
  chunk->count = count;
  return chunk;
}

std::uint32_t DescriptorChunk::first_free(std::uint32_t from) const {
  for (std::uint32_t word = from / 64; word < kWords; ++word) {
    std::uint64_t free = ~used[word];
    if (word == from / 64) {
      free &= ~std::uint64_t{0} << (from % 64);
    }
    if (free != 0) {
      return word * 64 + static_cast<std::uint32_t>(std::countr_zero(free));
    }
  }
  return kDescriptors;
}

std::uint32_t DescriptorChunk::first_used(std::uint32_t from) const {
  for (std::uint32_t word = from / 64; word < kWords; ++word) {
    std::uint64_t bits = used[word];
    if (word == from / 64) {
      bits &= ~std::uint64_t{0} << (from % 64);
    }
    if (bits != 0) {
      return word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
    }
  }
  return kDescriptors;
}

Result<RefPtr<FileTable>> FileTable::create() {
  auto table = RefPtr<FileTable>::adopt(new (std::nothrow) FileTable);
  if (!table) {
    return fail(Errno::kENOMEM);
  }
  auto directory = RefPtr<DescriptorDirectory>::adopt(new (std::nothrow) DescriptorDirectory);
  if (!directory) {
    return fail(Errno::kENOMEM);
  }
  MutexGuard guard(table->lock_);
  table->directory_ = std::move(directory);
  return table;
}

Result<RefPtr<FileTable>> FileTable::fork() {
  auto table = RefPtr<FileTable>::adopt(new (std::nothrow) FileTable);
  if (!table) {
    return fail(Errno::kENOMEM);
  }
  // The child's lock is held by nobody else; taking it inside the parent's would need a rank.
  RefPtr<DescriptorDirectory> directory;
  std::uint32_t count = 0;
  Descriptor lowest_free = 0;
  {
    MutexGuard guard(lock_);
    directory = directory_;
    count = count_;
    lowest_free = lowest_free_;
  }
  MutexGuard guard(table->lock_);
  table->directory_ = std::move(directory);
  table->count_ = count;
  table->lowest_free_ = lowest_free;
  return table;
}

// Record locks belong to the process that closes the file: each open file hears of it, but only
// where this table was the one that opened or inherited it, and with no lock held.
FileTable::~FileTable() NO_THREAD_SAFETY_ANALYSIS {
  for (Descriptor descriptor = next_open(0); descriptor >= 0;
       descriptor = next_open(descriptor + 1)) {
    peek_locked(descriptor)->closed_by(this);
  }
}

File* FileTable::peek_locked(Descriptor descriptor) {
  if (descriptor < 0 || chunk_of(descriptor) >= directory_->chunks.size()) {
    return nullptr;
  }
  const std::size_t at = clamp_index(chunk_of(descriptor), directory_->chunks.size());
  const DescriptorChunk* chunk = directory_->chunks[at].get();
  return chunk != nullptr ? chunk->files[index_of(descriptor)].get() : nullptr;
}

Result<RefPtr<File>> FileTable::get(Descriptor descriptor) {
  MutexGuard guard(lock_);
  File* file = peek_locked(descriptor);
  if (file == nullptr) {
    return fail(Errno::kEBADF);
  }
  return RefPtr<File>(file);
}

Result<void> FileTable::exclusive_directory_locked(std::uint32_t capacity) {
  const std::size_t chunks =
      (std::size_t{capacity} + DescriptorChunk::kDescriptors - 1) / DescriptorChunk::kDescriptors;
  if (directory_->reference_count() > 1) {
    auto copy = RefPtr<DescriptorDirectory>::adopt(new (std::nothrow) DescriptorDirectory);
    if (!copy) {
      return fail(Errno::kENOMEM);
    }
    TRY(copy->chunks.resize(std::max(chunks, directory_->chunks.size())));
    for (std::size_t i = 0; i < directory_->chunks.size(); ++i) {
      copy->chunks[i] = directory_->chunks[i];
    }
    directory_ = std::move(copy);
    return {};
  }
  if (directory_->chunks.size() < chunks) {
    TRY(directory_->chunks.resize(chunks));
  }
  return {};
}

Result<void> FileTable::prepare_slot_locked(Descriptor descriptor) {
  TRY(exclusive_directory_locked(static_cast<std::uint32_t>(descriptor) + 1));
  RefPtr<DescriptorChunk>& chunk = directory_->chunks[chunk_of(descriptor)];
  if (!chunk) {
    chunk = RefPtr<DescriptorChunk>::adopt(new (std::nothrow) DescriptorChunk);
    return chunk ? Result<void>() : fail(Errno::kENOMEM);
  }
  if (chunk->reference_count() > 1) {
    TRY_ASSIGN(chunk, chunk->copy());
  }
  return {};
}

Result<Descriptor> FileTable::find_free_locked(Descriptor from, std::uint64_t limit) {
  const auto end = static_cast<std::uint32_t>(std::min(limit, kMaxDescriptors));
  auto number = static_cast<std::uint32_t>(std::max(from, lowest_free_));
  while (number < end) {
    const std::uint32_t at = number / DescriptorChunk::kDescriptors;
    if (at >= directory_->chunks.size() || !directory_->chunks[at]) {
      return static_cast<Descriptor>(number);
    }
    const std::uint32_t found =
        directory_->chunks[at]->first_free(number % DescriptorChunk::kDescriptors);
    number = at * DescriptorChunk::kDescriptors + found;
    if (found < DescriptorChunk::kDescriptors) {
      break;
    }
  }
  if (number >= end) {
    return fail(Errno::kEMFILE);
  }
  return static_cast<Descriptor>(number);
}

void FileTable::fill_locked(Descriptor descriptor, RefPtr<File> file, CloseOnExec close_on_exec) {
  DescriptorChunk& chunk = *directory_->chunks[chunk_of(descriptor)];
  const std::uint32_t index = index_of(descriptor);
  const std::uint64_t bit = std::uint64_t{1} << (index % 64);
  chunk.files[index] = std::move(file);
  if ((chunk.used[index / 64] & bit) == 0) {
    chunk.used[index / 64] |= bit;
    ++chunk.count;
    ++count_;
  }
  if (close_on_exec == CloseOnExec::kYes) {
    chunk.close_on_exec[index / 64] |= bit;
  } else {
    chunk.close_on_exec[index / 64] &= ~bit;
  }
  if (descriptor == lowest_free_) {
    ++lowest_free_;
  }
}

RefPtr<File> FileTable::clear_locked(Descriptor descriptor) {
  DescriptorChunk& chunk = *directory_->chunks[chunk_of(descriptor)];
  const std::uint32_t index = index_of(descriptor);
  const std::uint64_t bit = std::uint64_t{1} << (index % 64);
  RefPtr<File> file = std::move(chunk.files[index]);
  chunk.files[index] = nullptr;
  chunk.used[index / 64] &= ~bit;
  chunk.close_on_exec[index / 64] &= ~bit;
  --chunk.count;
  --count_;
  lowest_free_ = std::min(lowest_free_, descriptor);
  return file;
}

Result<Descriptor> FileTable::install(RefPtr<File> file, CloseOnExec close_on_exec,
                                      std::uint64_t limit, Descriptor from) {
  MutexGuard guard(lock_);
  TRY_ASSIGN(const Descriptor descriptor, find_free_locked(from, limit));
  TRY(prepare_slot_locked(descriptor));
  fill_locked(descriptor, std::move(file), close_on_exec);
  return descriptor;
}

Result<FileTable::Pair> FileTable::install_pair(RefPtr<File> first, RefPtr<File> second,
                                                CloseOnExec close_on_exec, std::uint64_t limit) {
  MutexGuard guard(lock_);
  TRY_ASSIGN(const Descriptor low, find_free_locked(0, limit));
  TRY_ASSIGN(const Descriptor high, find_free_locked(low + 1, limit));
  TRY(prepare_slot_locked(high));
  TRY(prepare_slot_locked(low));
  fill_locked(low, std::move(first), close_on_exec);
  fill_locked(high, std::move(second), close_on_exec);
  return Pair{low, high};
}

Result<void> FileTable::close(Descriptor descriptor) {
  RefPtr<File> file;
  {
    MutexGuard guard(lock_);
    if (peek_locked(descriptor) == nullptr) {
      return fail(Errno::kEBADF);
    }
    TRY(prepare_slot_locked(descriptor));
    file = clear_locked(descriptor);
  }
  file->closed_by(this);
  return {};
}

Result<Descriptor> FileTable::duplicate(Descriptor descriptor, Descriptor from,
                                        CloseOnExec close_on_exec, std::uint64_t limit) {
  MutexGuard guard(lock_);
  RefPtr<File> file(peek_locked(descriptor));
  if (!file) {
    return fail(Errno::kEBADF);
  }
  TRY_ASSIGN(const Descriptor copy, find_free_locked(from, limit));
  TRY(prepare_slot_locked(copy));
  fill_locked(copy, std::move(file), close_on_exec);
  return copy;
}

Result<void> FileTable::duplicate_to(Descriptor from, Descriptor to, CloseOnExec close_on_exec,
                                     std::uint64_t limit) {
  RefPtr<File> replaced;
  {
    MutexGuard guard(lock_);
    RefPtr<File> file(peek_locked(from));
    if (!file || to < 0 || static_cast<std::uint64_t>(to) >= std::min(limit, kMaxDescriptors)) {
      return fail(Errno::kEBADF);
    }
    TRY(prepare_slot_locked(to));
    if (peek_locked(to) != nullptr) {
      replaced = clear_locked(to);
    }
    fill_locked(to, std::move(file), close_on_exec);
  }
  if (replaced) {
    replaced->closed_by(this);
  }
  return {};
}

Result<CloseOnExec> FileTable::close_on_exec(Descriptor descriptor) {
  MutexGuard guard(lock_);
  if (peek_locked(descriptor) == nullptr) {
    return fail(Errno::kEBADF);
  }
  const DescriptorChunk& chunk = *directory_->chunks[chunk_of(descriptor)];
  const std::uint32_t index = index_of(descriptor);
  return (chunk.close_on_exec[index / 64] >> (index % 64) & 1) != 0 ? CloseOnExec::kYes
                                                                    : CloseOnExec::kNo;
}

Result<void> FileTable::set_close_on_exec(Descriptor descriptor, CloseOnExec value) {
  MutexGuard guard(lock_);
  if (peek_locked(descriptor) == nullptr) {
    return fail(Errno::kEBADF);
  }
  TRY(prepare_slot_locked(descriptor));
  fill_locked(descriptor, RefPtr<File>(peek_locked(descriptor)), value);
  return {};
}

Result<void> FileTable::change_range(std::uint32_t first, std::uint32_t last, RangeAction action) {
  const Descriptor end =
      static_cast<Descriptor>(std::min<std::uint64_t>(last, kMaxDescriptors - 1));
  Descriptor descriptor = first < kMaxDescriptors ? next_open(static_cast<Descriptor>(first)) : -1;
  for (; descriptor >= 0 && descriptor <= end; descriptor = next_open(descriptor + 1)) {
    // Another thread may have closed it in between, which is as good.
    const Result<void> done = action == RangeAction::kClose
                                  ? close(descriptor)
                                  : set_close_on_exec(descriptor, CloseOnExec::kYes);
    if (!done.has_value() && done.error() != Errno::kEBADF) {
      return done;
    }
  }
  return {};
}

Result<void> FileTable::prepare_close_marked() {
  MutexGuard guard(lock_);
  for (std::size_t i = 0; i < directory_->chunks.size(); ++i) {
    if (directory_->chunks[i] && directory_->chunks[i]->has_marked()) {
      TRY(prepare_slot_locked(static_cast<Descriptor>(i * DescriptorChunk::kDescriptors)));
    }
  }
  return {};
}

void FileTable::close_marked() {
  Descriptor from = 0;
  while (true) {
    RefPtr<File> file;
    {
      MutexGuard guard(lock_);
      const Descriptor marked = next_marked_locked(from);
      if (marked < 0) {
        return;
      }
      from = marked + 1;
      // prepare_close_marked() made the chunk this table's own.
      if (!prepare_slot_locked(marked).has_value()) {
        continue;
      }
      file = clear_locked(marked);
    }
    file->closed_by(this);
  }
}

Descriptor FileTable::next_marked_locked(Descriptor from) {
  for (std::size_t at = chunk_of(from); at < directory_->chunks.size(); ++at) {
    const DescriptorChunk* chunk = directory_->chunks[at].get();
    const auto base = static_cast<Descriptor>(at * DescriptorChunk::kDescriptors);
    if (chunk == nullptr || !chunk->has_marked()) {
      continue;
    }
    for (std::uint32_t i = base >= from ? 0 : index_of(from); i < DescriptorChunk::kDescriptors;
         ++i) {
      if ((chunk->close_on_exec[i / 64] >> (i % 64) & 1) != 0) {
        return base + static_cast<Descriptor>(i);
      }
    }
  }
  return -1;
}

Descriptor FileTable::next_open(Descriptor from) {
  MutexGuard guard(lock_);
  if (from < 0) {
    return -1;
  }
  for (std::size_t at = chunk_of(from); at < directory_->chunks.size(); ++at) {
    const DescriptorChunk* chunk = directory_->chunks[at].get();
    const auto base = static_cast<Descriptor>(at * DescriptorChunk::kDescriptors);
    if (chunk == nullptr || chunk->count == 0) {
      continue;
    }
    const std::uint32_t found = chunk->first_used(base >= from ? 0 : index_of(from));
    if (found < DescriptorChunk::kDescriptors) {
      return base + static_cast<Descriptor>(found);
    }
  }
  return -1;
}

std::uint32_t FileTable::capacity() {
  MutexGuard guard(lock_);
  return std::max(static_cast<std::uint32_t>(directory_->chunks.size()), 1U) *
         DescriptorChunk::kDescriptors;
}

std::uint32_t FileTable::open_count() {
  MutexGuard guard(lock_);
  return count_;
}

void FileTable::validate() {
  MutexGuard guard(lock_);
  std::uint32_t total = 0;
  for (std::size_t at = 0; at < directory_->chunks.size(); ++at) {
    const DescriptorChunk* chunk = directory_->chunks[at].get();
    if (chunk == nullptr) {
      continue;
    }
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < DescriptorChunk::kDescriptors; ++i) {
      const bool marked = (chunk->used[i / 64] >> (i % 64) & 1) != 0;
      HOLSTEIN_ASSERT(marked == (chunk->files[i] != nullptr));
      count += marked ? 1 : 0;
    }
    HOLSTEIN_ASSERT(count == chunk->count);
    total += count;
  }
  HOLSTEIN_ASSERT(total == count_);
  for (Descriptor descriptor = 0; descriptor < lowest_free_; ++descriptor) {
    HOLSTEIN_ASSERT(peek_locked(descriptor) != nullptr);
  }
}

}  // namespace holstein
