#include "proc/pid.h"

#include <new>

#include "lib/panic.h"
#include "uaccess/speculation.h"

namespace holstein {

constinit SpinLock process_links{LockRank::kProcessLinks};

namespace {

// Two levels: leaves of 512 numbers each, made when they are first needed and kept.
constexpr unsigned kLeafEntries = 512;
constexpr unsigned kLeaves = kPidMaxLimit / kLeafEntries;

struct Leaf {
  PidRecord* records[kLeafEntries] = {};
  unsigned used = 0;
};

constinit Leaf* leaves[kLeaves] = {};          // process_links
constinit ProcessId last_pid = 0;              // process_links
constinit ProcessId maximum = kDefaultPidMax;  // process_links

PidRecord*& slot_of(ProcessId number) {
  return leaves[number / kLeafEntries]->records[number % kLeafEntries];
}

// The first free number in [from, end), or 0.
ProcessId find_free(ProcessId from, ProcessId end) {
  for (ProcessId number = from; number < end;) {
    const Leaf* leaf = leaves[number / kLeafEntries];
    if (leaf == nullptr) {
      return number;
    }
    const ProcessId leaf_end = (number / kLeafEntries + 1) * static_cast<int>(kLeafEntries);
    if (leaf->used == kLeafEntries) {
      number = leaf_end;
      continue;
    }
    for (; number < leaf_end && number < end; ++number) {
      if (leaf->records[number % kLeafEntries] == nullptr) {
        return number;
      }
    }
  }
  return 0;
}

Result<void> take_number(PidRecord& record, ProcessId wanted) REQUIRES(process_links) {
  ProcessId number = wanted;
  if (wanted == 0) {
    number = find_free(last_pid + 1, maximum);
    if (number == 0) {
      number = find_free(kReservedPids, last_pid + 1 < maximum ? last_pid + 1 : maximum);
    }
    if (number == 0) {
      return fail(Errno::kEAGAIN);
    }
  } else if (wanted < 0 || wanted >= maximum) {
    return fail(Errno::kEINVAL);
  }
  Leaf*& leaf = leaves[number / kLeafEntries];
  if (leaf == nullptr) {
    leaf = new (std::nothrow) Leaf;
    if (leaf == nullptr) {
      return fail(Errno::kENOMEM);
    }
  }
  PidRecord*& slot = slot_of(number);
  if (slot != nullptr) {
    return fail(Errno::kEEXIST);
  }
  slot = &record;
  ++leaf->used;
  record.number = number;
  record.users = 1;
  if (wanted == 0) {
    last_pid = number;
  }
  return {};
}

}  // namespace

Result<PidRecord*> allocate_pid(ProcessId wanted) {
  auto* record = new (std::nothrow) PidRecord;
  if (record == nullptr) {
    return fail(Errno::kENOMEM);
  }
  Result<void> taken;
  {
    SpinGuard guard(process_links);
    taken = take_number(*record, wanted);
  }
  if (!taken.has_value()) {
    delete record;
    return fail(taken.error());
  }
  return record;
}

void retain_pid_locked(PidRecord& record) {
  HOLSTEIN_ASSERT(record.users > 0);
  ++record.users;
}

void release_pid_locked(PidRecord* record) {
  HOLSTEIN_ASSERT(record->users > 0);
  if (--record->users > 0) {
    return;
  }
  HOLSTEIN_ASSERT(record->thread == nullptr && record->process == nullptr &&
                  record->group_members.empty() && record->session_members.empty());
  slot_of(record->number) = nullptr;
  --leaves[record->number / kLeafEntries]->used;
  delete record;
}

void release_pid(PidRecord* record) {
  SpinGuard guard(process_links);
  release_pid_locked(record);
}

PidRecord* find_pid_locked(ProcessId number) {
  if (number <= 0 || number >= kPidMaxLimit) {
    return nullptr;
  }
  number = static_cast<ProcessId>(clamp_index(static_cast<std::size_t>(number), kPidMaxLimit));
  return leaves[number / kLeafEntries] != nullptr ? slot_of(number) : nullptr;
}

PidRecord* next_pid_locked(ProcessId from) {
  if (from < 1) {
    from = 1;
  }
  for (ProcessId number = from; number < kPidMaxLimit;) {
    const Leaf* leaf = leaves[number / kLeafEntries];
    const ProcessId leaf_end = (number / kLeafEntries + 1) * static_cast<int>(kLeafEntries);
    if (leaf == nullptr || leaf->used == 0) {
      number = leaf_end;
      continue;
    }
    for (; number < leaf_end; ++number) {
      if (leaf->records[number % kLeafEntries] != nullptr) {
        return leaf->records[number % kLeafEntries];
      }
    }
  }
  return nullptr;
}

ProcessId pid_max() {
  SpinGuard guard(process_links);
  return maximum;
}

ProcessId last_allocated_pid() {
  SpinGuard guard(process_links);
  return last_pid;
}

Result<void> set_pid_max(ProcessId value) {
  if (value < kReservedPids + 1 || value > kPidMaxLimit) {
    return fail(Errno::kEINVAL);
  }
  SpinGuard guard(process_links);
  maximum = value;
  return {};
}

}  // namespace holstein
