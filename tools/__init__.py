"""What ./holstein calls: package check, build, image builder, QEMU runner, host channel."""
