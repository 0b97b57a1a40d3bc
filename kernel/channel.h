// The guest's end of the host channel; what fs/ sees of it is fs/host_channel.h.
#pragma once

namespace holstein {

// Looks for the channel's device and greets the host; without one, takes the serial port. After
// pci, interrupts and the heap work.
void channel_init();
// True where the serial port stands in for the channel.
bool channel_is_serial();

}  // namespace holstein
