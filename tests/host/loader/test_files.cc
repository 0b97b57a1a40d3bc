// Kernels and archives for tests: see test_files.h.
#include "tests/host/loader/test_files.h"

#include <cstdio>

namespace holstein::loader {
namespace {

constexpr uint64_t kFileOffset = 0x1000;  // of the text; the rest follows as it lies in memory

}  // namespace

TestKernel::TestKernel(uint64_t link_base) : base(link_base) {
  header.magic[0] = 0x7f;
  memcpy(header.magic + 1, "ELF", 3);
  header.file_class = kElfClass64;
  header.data_encoding = kElfLittleEndian;
  header.ident_version = kElfCurrentVersion;
  header.type = kElfTypeDynamic;
  header.machine = kElfMachineX86_64;
  header.version = kElfCurrentVersion;
  header.entry = base + kEntry;
  header.program_headers_offset = sizeof(ElfHeader);
  header.header_bytes = sizeof(ElfHeader);
  header.program_header_bytes = sizeof(ElfProgramHeader);
  auto add = [&](uint32_t type, uint32_t flags, uint64_t at, uint64_t file_bytes,
                 uint64_t memory_bytes, uint64_t alignment) {
    headers.push_back({.type = type,
                       .flags = flags,
                       .offset = kFileOffset + at,
                       .virtual_address = base + at,
                       .physical_address = 0xdead'0000,
                       .file_bytes = file_bytes,
                       .memory_bytes = memory_bytes,
                       .alignment = alignment});
  };
  add(kSegmentLoad, kSegmentRead | kSegmentExecute, kText, kTextBytes, kTextBytes, 4096);
  add(kSegmentLoad, kSegmentRead, kRodata, kRodataBytes, kRodataBytes, 4096);
  add(kSegmentLoad, kSegmentRead | kSegmentWrite, kData, kDataBytes, kDataMemoryBytes, 4096);
  add(kSegmentDynamic, kSegmentRead | kSegmentWrite, kData, 0x100, 0x100, 8);
  add(kSegmentGnuRelro, kSegmentRead, kData, 0x2000, 0x2000, 1);
  for (uint64_t at : {0x3108ULL, 0x3110ULL, 0x53f8ULL, 0x7ff8ULL}) {
    rela.push_back({.offset = base + at,
                    .info = kRelocationRelative,
                    .addend = static_cast<int64_t>(base + at / 2)});
  }
  // 0x3200; 0x3208 and 0x3218 by the first bitmap; 0x3200 + 8 + 63 * 8 by the second.
  relr = {base + 0x3200, 0b1011, 0b11};
  dynamic = {{kDynamicRela, base + kRelaAt},
             {kDynamicRelaBytes, rela.size() * sizeof(ElfRela)},
             {kDynamicRelaEntryBytes, sizeof(ElfRela)},
             {kDynamicRelr, base + kRelrAt},
             {kDynamicRelrBytes, relr.size() * sizeof(uint64_t)},
             {kDynamicRelrEntryBytes, sizeof(uint64_t)},
             {0x6ffffff9, 4}};  // DT_RELACOUNT, which may be ignored
}

uint8_t TestKernel::byte_at(uint64_t offset) const {
  return static_cast<uint8_t>(offset * 131 + (offset >> 8) * 7 + 1);
}

std::vector<uint8_t> TestKernel::file() const {
  std::vector<uint8_t> bytes(kFileOffset + kData + kDataBytes);
  for (uint64_t at = 0; at < kData + kDataBytes; ++at) bytes[kFileOffset + at] = byte_at(at);
  auto put = [&](uint64_t at, const void* data, uint64_t size) {
    if (bytes.size() < at + size) bytes.resize(at + size);
    memcpy(bytes.data() + at, data, size);
  };
  ElfHeader complete = header;
  if (complete.program_header_count == 0) {
    complete.program_header_count = static_cast<uint16_t>(headers.size());
  }
  put(0, &complete, sizeof(complete));
  put(sizeof(complete), headers.data(), headers.size() * sizeof(ElfProgramHeader));
  put(kFileOffset + kRelaAt, rela.data(), rela.size() * sizeof(ElfRela));
  put(kFileOffset + kRelrAt, relr.data(), relr.size() * sizeof(uint64_t));
  uint64_t at = kFileOffset + kData;
  for (const ElfDynamic& entry : dynamic) {
    put(at, &entry, sizeof(entry));
    at += sizeof(entry);
  }
  const ElfDynamic end = {kDynamicNull, 0};
  const ElfDynamic filler = {0x6ffffff9, 0};
  for (; at < kFileOffset + kData + 0x100; at += sizeof(end)) {
    put(at, with_terminator ? &end : &filler, sizeof(end));
  }
  // What RELR adjusts is an address already.
  for (uint64_t slot : {0x3200ULL, 0x3208ULL, 0x3218ULL, 0x3400ULL}) {
    const uint64_t value = base + slot / 4;
    put(kFileOffset + slot, &value, sizeof(value));
  }
  return bytes;
}

void add_entry(std::vector<uint8_t>& archive, const std::string& name, const std::string& content) {
  char header[111];
  snprintf(header, sizeof(header), "070701%08X%08X%08X%08X%08X%08X%08zX%08X%08X%08X%08X%08zX%08X",
           1, 0100755, 0, 0, 1, 0, content.size(), 0, 0, 0, 0, name.size() + 1, 0);
  archive.insert(archive.end(), header, header + 110);
  archive.insert(archive.end(), name.c_str(), name.c_str() + name.size() + 1);
  while (archive.size() % 4 != 0) archive.push_back(0);
  archive.insert(archive.end(), content.begin(), content.end());
  while (archive.size() % 4 != 0) archive.push_back(0);
}

std::vector<uint8_t> test_initramfs() {
  std::vector<uint8_t> archive;
  add_entry(archive, "bin", "");
  add_entry(archive, "bin/busybox", std::string(5001, 'b'));
  add_entry(archive, "etc/motd", "moo\n");
  add_entry(archive, "TRAILER!!!", "");
  return archive;
}

}  // namespace holstein::loader
