// Every length and offset below comes from the firmware and is checked before it is used.
#include "kernel/acpi_tables.h"

#include <cstring>
#include <span>
#include <string_view>

#include "lib/log.h"

namespace holstein {
namespace {

using Bytes = std::span<const std::byte>;

// ACPI 6.5, 5.2.6.
struct [[gnu::packed]] Header {
  char signature[4];
  std::uint32_t length;
  std::uint8_t revision;
  std::uint8_t checksum;
  char oem_id[6];
  char oem_table_id[8];
  std::uint32_t oem_revision;
  std::uint32_t creator_id;
  std::uint32_t creator_revision;
};
static_assert(sizeof(Header) == 36);

struct [[gnu::packed]] Rsdp {
  char signature[8];
  std::uint8_t checksum;
  char oem_id[6];
  std::uint8_t revision;
  std::uint32_t rsdt_address;
  std::uint32_t length;
  std::uint64_t xsdt_address;
  std::uint8_t extended_checksum;
  std::uint8_t reserved[3];
};
static_assert(sizeof(Rsdp) == 36);
constexpr std::size_t kRsdpVersion1Bytes = 20;

constexpr std::size_t kMaxTableBytes = 16U << 20;

bool checksum_is_right(Bytes bytes) {
  std::uint8_t sum = 0;
  for (const std::byte byte : bytes) {
    sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(byte));
  }
  return sum == 0;
}

// Little-endian value of `bytes` at `offset`, 0 where the table is shorter.
template <class T>
T field(Bytes table, std::size_t offset) {
  T value{};
  if (offset + sizeof(T) <= table.size()) {
    std::memcpy(&value, table.data() + offset, sizeof(T));
  }
  return value;
}

std::string_view signature_of(Bytes table) {
  return {reinterpret_cast<const char*>(table.data()), 4};
}

// The whole table at `address`, or nothing if it cannot be read or its checksum is wrong.
Bytes read_table(std::uint64_t address, PhysicalReader read) {
  if (address == 0) {
    return {};
  }
  const std::byte* header = read(address, sizeof(Header));
  if (header == nullptr) {
    return {};
  }
  const std::uint32_t length = field<std::uint32_t>({header, sizeof(Header)}, 4);
  if (length < sizeof(Header) || length > kMaxTableBytes) {
    return {};
  }
  const std::byte* table = read(address, length);
  if (table == nullptr) {
    return {};
  }
  if (!checksum_is_right({table, length})) {
    log(LogLevel::kWarning, "ACPI: table %.4s at %#lx has a wrong checksum, ignored",
        reinterpret_cast<const char*>(table), address);
    return {};
  }
  return {table, length};
}

// ACPI 6.5, 5.2.12.
void parse_madt(Bytes table, AcpiInfo& info) {
  constexpr std::size_t kEntries = 44;
  if (table.size() < kEntries) {
    return;
  }
  info.has_madt = true;
  info.local_apic_address = field<std::uint32_t>(table, 36);
  info.has_legacy_interrupt_controller = (field<std::uint32_t>(table, 40) & 1) != 0;
  std::size_t offset = kEntries;
  while (offset + 2 <= table.size()) {
    const auto type = field<std::uint8_t>(table, offset);
    const auto length = field<std::uint8_t>(table, offset + 1);
    if (length < 2 || offset + length > table.size()) {
      log(LogLevel::kWarning, "ACPI: broken entry in MADT at offset %zu", offset);
      return;
    }
    const Bytes entry = table.subspan(offset, length);
    switch (type) {
      case 0:  // local APIC
        info.cpu_count += field<std::uint32_t>(entry, 4) & 1;
        break;
      case 9:  // local x2APIC
        info.cpu_count += field<std::uint32_t>(entry, 8) & 1;
        break;
      case 1:
        if (length >= 12 && info.io_apic_count < info.io_apics.size()) {
          info.io_apics[info.io_apic_count++] = {.address = field<std::uint32_t>(entry, 4),
                                                 .first_interrupt = field<std::uint32_t>(entry, 8)};
        }
        break;
      case 2:
        if (length >= 10 && info.override_count < info.overrides.size()) {
          const auto flags = field<std::uint16_t>(entry, 8);
          info.overrides[info.override_count++] = {.isa_irq = field<std::uint8_t>(entry, 3),
                                                   .interrupt = field<std::uint32_t>(entry, 4),
                                                   .active_low = (flags & 3) == 3,
                                                   .level_triggered = (flags >> 2 & 3) == 3};
        }
        break;
      case 5:
        if (length >= 12) {
          info.local_apic_address = field<std::uint64_t>(entry, 4);
        }
        break;
      default:
        break;
    }
    offset += length;
  }
}

AcpiRegister register_at(Bytes table, std::size_t offset) {
  return {.space = field<std::uint8_t>(table, offset),
          .width_bits = field<std::uint8_t>(table, offset + 1),
          .address = field<std::uint64_t>(table, offset + 4)};
}

// A port given as a 32-bit field, or in newer tables as a generic address at `extended`.
std::uint16_t port_at(Bytes table, std::size_t offset, std::size_t extended) {
  constexpr std::uint8_t kPortSpace = 1;
  const AcpiRegister better = register_at(table, extended);
  if (better.address != 0 && better.address < 0x10000 && better.space == kPortSpace) {
    return static_cast<std::uint16_t>(better.address);
  }
  const auto port = field<std::uint32_t>(table, offset);
  return port < 0x10000 ? static_cast<std::uint16_t>(port) : 0;
}

// ACPI 6.5, 5.2.9. Returns the address of the DSDT.
std::uint64_t parse_fadt(Bytes table, AcpiInfo& info) {
  constexpr std::uint32_t kFlagResetSupported = 1 << 10;
  constexpr std::uint32_t kFlagTimer32 = 1 << 8;
  info.has_fadt = true;
  const auto flags = field<std::uint32_t>(table, 112);
  info.smi_command_port = static_cast<std::uint16_t>(field<std::uint32_t>(table, 48));
  info.acpi_enable_value = field<std::uint8_t>(table, 52);
  info.pm1a_control_port = port_at(table, 64, 172);
  info.pm1b_control_port = port_at(table, 68, 184);
  info.pm_timer_port = port_at(table, 76, 208);
  info.pm_timer_is_32_bit = (flags & kFlagTimer32) != 0;
  info.century_register = field<std::uint8_t>(table, 108);
  info.has_reset = (flags & kFlagResetSupported) != 0;
  info.reset_register = register_at(table, 116);
  info.reset_value = field<std::uint8_t>(table, 128);
  const auto extended = field<std::uint64_t>(table, 140);
  return extended != 0 ? extended : field<std::uint32_t>(table, 40);
}

void parse_aml(Bytes table, AcpiInfo& info) {
  if (!info.has_sleep5 && table.size() > sizeof(Header)) {
    info.has_sleep5 = acpi_find_sleep5(table.data() + sizeof(Header), table.size() - sizeof(Header),
                                       info.sleep5_type_a, info.sleep5_type_b);
  }
}

void parse_one(std::uint64_t address, PhysicalReader read, AcpiInfo& info) {
  const Bytes table = read_table(address, read);
  if (table.empty()) {
    return;
  }
  const std::string_view signature = signature_of(table);
  if (signature == "APIC") {
    parse_madt(table, info);
  } else if (signature == "FACP") {
    parse_aml(read_table(parse_fadt(table, info), read), info);
  } else if (signature == "SSDT") {
    parse_aml(table, info);
  } else if (signature == "HPET") {
    info.hpet_address = register_at(table, 40).address;
  }
}

}  // namespace

Result<AcpiInfo> acpi_parse(std::uint64_t rsdp_address, PhysicalReader read) {
  if (rsdp_address == 0) {
    return fail(Errno::kENOENT);
  }
  const std::byte* start = read(rsdp_address, kRsdpVersion1Bytes);
  if (start == nullptr || std::memcmp(start, "RSD PTR ", 8) != 0 ||
      !checksum_is_right({start, kRsdpVersion1Bytes})) {
    return fail(Errno::kENOENT);
  }
  const Bytes version1(start, kRsdpVersion1Bytes);
  Bytes root;
  std::size_t entry_bytes = 4;
  if (field<std::uint8_t>(version1, offsetof(Rsdp, revision)) >= 2) {
    const std::byte* whole = read(rsdp_address, sizeof(Rsdp));
    if (whole != nullptr && checksum_is_right({whole, sizeof(Rsdp)})) {
      root = read_table(field<std::uint64_t>({whole, sizeof(Rsdp)}, offsetof(Rsdp, xsdt_address)),
                        read);
      entry_bytes = 8;
    }
  }
  if (root.empty()) {
    root = read_table(field<std::uint32_t>(version1, offsetof(Rsdp, rsdt_address)), read);
    entry_bytes = 4;
  }
  if (root.empty()) {
    return fail(Errno::kENOENT);
  }
  AcpiInfo info;
  for (std::size_t offset = sizeof(Header); offset + entry_bytes <= root.size();
       offset += entry_bytes) {
    const std::uint64_t address =
        entry_bytes == 8 ? field<std::uint64_t>(root, offset) : field<std::uint32_t>(root, offset);
    parse_one(address, read, info);
  }
  return info;
}

}  // namespace holstein
