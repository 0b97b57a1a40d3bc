"""Tests that boot the kernel in QEMU."""

load("//toolchain:defs.bzl", "python_test")

def boot_test(name, srcs, module = None, kernel = "opt", data = [], env = {}, tags = [], **kwargs):
    """A unittest module that boots guests.

    Each has one QEMU at a time, which keeps one processor busy and a second one now and then.

    Args:
      name: the target's name.
      srcs: the module's file and those beside it that it imports.
      module: its name without .py; `name` if missing.
      kernel: "opt" or "debug".
      data: more files.
      env: more environment.
      tags: more tags.
      **kwargs: python_test's attributes.
    """
    python_test(
        name = name,
        srcs = srcs + [":library"],
        data = data + [
            "//efi_loader:bootx64",
            "//kernel:kernel_" + kernel,
            "//proc/init:holstein-init",
        ],
        env = dict(env, HOLSTEIN_KERNEL = kernel),
        module = "tests.boot." + (module or name),
        tags = tags + ["cpu:1"],
        **kwargs
    )
