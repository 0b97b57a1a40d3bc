"""Host-side tests of tools/; none of them needs QEMU or a kernel."""
