// The invariants of vm/paging.h as functions: tests, fuzzers and debug kernels call them.
#pragma once

namespace holstein {

class AddressSpace;

// Panics, naming the address and what was found, unless for this space: I2 and I3 hold on the way
// to every entry, each leaf agrees with its region (A1), the counts of every table are the sums of
// what is below it (A2), and the regions are in order; with page-table isolation, N1 to N3 of
// vm/isolation.h too. Takes the space's lock. Linear in what is mapped.
void validate_address_space(AddressSpace& space);

// The same for every space, and I1 for every frame: the references of each table and page are
// counted over all distinct tables and compared with the descriptors. Needs 4 bytes a frame of
// heap; returns false (nothing checked) where they cannot be had, or while the memory of a process
// that has ended is being given back. Nothing else may run meanwhile.
[[nodiscard]] bool validate_all_address_spaces();

}  // namespace holstein
