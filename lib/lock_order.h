// The lock order of the whole kernel, as an indented tree: a lock may be taken while any lock above
// it on the path is held, and never the other way round. Sleeping locks come first: none may be
// taken, and nothing may sleep or touch user memory, while a spinlock is held. Debug builds check
// the latter everywhere, and the order among spinlocks and among the sleeping locks from
// kAddressSpaceList down (lib/spinlock.cc, lib/mutex.cc). Above that they do not: a lookup in
// /proc/<pid> looks at the process's descriptor table with the directory's lock held.
//
//   kProcessTree              proc/: parents, children, groups, sessions (sleeping)
//     kThreadGroup            proc/: threads of one process, its exit and exec (sleeping)
//       kFileTable            proc/: descriptor table (sleeping)
//         kFilePosition       fs/: offset of one open file (sleeping)
//           kNamespace        fs/: renames and the mount table (sleeping)
//             kInode          fs/: contents and metadata of one inode; directories from the root
//                             down, else by address (sleeping)
//               kPipe         fs/: one pipe or terminal (sleeping)
//                 kAddressSpaceList   vm/: all address spaces, for truncation (sleeping)
//                   kAddressSpace vm/: regions and user tables of one process; fork takes the
//                             parent's before the child's (sleeping, readers and writers)
//                     kPageCache    vm/: index of one page cache (sleeping)
//                     --- spinlocks from here on ---
//                     kProcessLinks proc/: pid table, parents and children, groups, sessions
//                     kSignals    proc/: pending signals and actions
//                       kWaitQueue  lib/: the threads that wait for one thing
//                         kRunQueue proc/: scheduler
//                     kTable      vm/: bit lock of a page table's frame; from the root down
//                       kHeap     vm/: slab caches and the virtual ranges of the heap
//                         kFrames vm/: buddy allocator
//                     kDevice     kernel/: device rings
//                       kLog      kernel/: the log ring; may be taken under anything
//
// A copy to or from user memory takes the address space's lock (it may fault) and may therefore
// happen under every sleeping lock above kAddressSpace, and under none from kAddressSpace down.
#pragma once

#include <cstdint>

namespace holstein {

// Ascending: a lock may be taken only while all held locks have a lower rank, or an equal one where
// the tree above says so for its kind.
enum class LockRank : std::uint8_t {
  kUnranked = 0,
  kProcessTree = 10,
  kThreadGroup = 12,
  kFileTable = 14,
  kFilePosition = 16,
  kNamespace = 18,
  kInode = 20,
  kPipe = 22,
  kAddressSpaceList = 23,
  kAddressSpace = 24,
  kPageCache = 26,
  kFirstSpinLock = 64,
  kProcessLinks = 65,
  kSignals = 66,
  kWaitQueue = 68,
  kRunQueue = 70,
  kTable = 72,
  kHeap = 74,
  kFrames = 76,
  kDevice = 78,
  kLog = 80,
};

inline constexpr LockRank kFirstCheckedSleepingLock = LockRank::kAddressSpaceList;

}  // namespace holstein
