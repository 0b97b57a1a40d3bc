"""Declares one Clang toolchain: its configuration, the cc_toolchain and its registration."""

load(":cc_toolchain_config.bzl", "clang_toolchain_config")

def clang_toolchain(name, role, mode):
    """Makes //toolchain:NAME_toolchain for the platform of the same name.

    Args:
      name: the platform's name.
      role: "host", "guest", "kernel" or "uefi".
      mode: "opt", "debug" or "fuzz".
    """
    clang_toolchain_config(
        name = name + "_config",
        mode = mode,
        role = role,
    )
    files = ":no_files"
    if role in ["kernel", "uefi"]:
        files = ":freestanding_headers"
    elif mode == "fuzz":
        files = ":fuzz_uncounted.txt"
    native.cc_toolchain(
        name = name + "_cc",
        all_files = files,
        compiler_files = files,
        dwp_files = ":no_files",
        linker_files = ":no_files",
        objcopy_files = ":no_files",
        strip_files = ":no_files",
        supports_param_files = 1,
        toolchain_config = name + "_config",
        toolchain_identifier = "holstein-" + name,
    )
    native.toolchain(
        name = name + "_toolchain",
        exec_compatible_with = [
            "@platforms//cpu:x86_64",
            "@platforms//os:linux",
        ],
        target_compatible_with = [
            "//toolchain:" + {"host": "on_host", "guest": "on_guest", "kernel": "in_kernel", "uefi": "in_uefi"}[role],
            "//toolchain:" + ("fuzz_mode" if mode == "fuzz" else mode),
        ],
        toolchain = name + "_cc",
        toolchain_type = "@bazel_tools//tools/cpp:toolchain_type",
    )
