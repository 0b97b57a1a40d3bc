"""What every BUILD file of the project uses instead of Bazel's own C++ rules."""

load(":compile_fail.bzl", _compile_fail_test = "compile_fail_test")
load(
    ":freestanding.bzl",
    "guest_binary",
    _efi_application = "efi_application",
    _kernel_binary = "kernel_binary",
    _qemu_plugin = "qemu_plugin",
)
load(":precompiled_header.bzl", "precompiled_header_copts")
load(":tidy.bzl", "tidy_test")

compile_fail_test = _compile_fail_test
efi_application = _efi_application
kernel_binary = _kernel_binary
qemu_plugin = _qemu_plugin

_KERNEL_ONLY = ["//toolchain:in_kernel"]
_UEFI_ONLY = ["//toolchain:in_uefi"]
_HOST_ONLY = ["//toolchain:on_host"]

def holstein_library(name, features = [], tidy = True, tidy_platform = "host", **kwargs):
    """A library of the project's own code; builds for whichever platform asks for it.

    Compiled without exceptions and RTTI everywhere, with warnings as errors. Brings NAME_tidy, a
    test that runs clang-tidy over its .cc files.

    Args:
      name: the target's name.
      features: toolchain features besides.
      tidy: False for code that clang-tidy cannot read.
      tidy_platform: the platform whose flags clang-tidy sees.
      **kwargs: cc_library's attributes.
    """
    native.cc_library(
        name = name,
        features = ["no_exceptions"] + features,
        **kwargs
    )
    if tidy and [src for src in kwargs.get("srcs", []) if src.endswith(".cc")]:
        tidy_test(
            name = name + "_tidy",
            size = "small",
            platform = tidy_platform,
            target = name,
        )

def kernel_library(name, **kwargs):
    """A holstein_library that exists only in the kernel; `bazel build //...` skips it elsewhere."""
    holstein_library(
        name = name,
        target_compatible_with = _KERNEL_ONLY,
        tidy_platform = "kernel_debug",
        **kwargs
    )

def uefi_library(name, **kwargs):
    """A holstein_library that exists only in UEFI applications."""
    holstein_library(
        name = name,
        target_compatible_with = _UEFI_ONLY,
        tidy_platform = "uefi",
        **kwargs
    )

# Of host tests, which take longer to compile than to run.
UNOPTIMIZED_COPTS = ["-O0"]

# For targets that have `//toolchain:gtest_header` among their deps.
GTEST_HEADER_COPTS = precompiled_header_copts("gtest_header")

def host_library(name, **kwargs):
    """Code that helps host tests: fakes, models. May use exceptions and the C library."""
    native.cc_library(
        name = name,
        target_compatible_with = _HOST_ONLY,
        **kwargs
    )

def host_test(name, srcs, deps = [], size = "small", copts = [], optimized = False, **kwargs):
    """A GoogleTest program on the host, under AddressSanitizer and UndefinedBehaviorSanitizer.

    Args:
      name: the target's name.
      srcs: the test's files; main() comes from GoogleTest.
      deps: what it tests; compiled as everywhere.
      size: Bazel's: small ends within 180 s (.bazelrc), medium within 300 s.
      copts: as everywhere.
      optimized: True for the few tests that would run for longer than they were compiled faster.
      **kwargs: cc_test's attributes.
    """
    header = "gtest_header" if optimized else "gtest_header_unoptimized"
    native.cc_test(
        name = name,
        size = size,
        srcs = srcs,
        copts = copts + ([] if optimized else UNOPTIMIZED_COPTS) + precompiled_header_copts(header),
        target_compatible_with = _HOST_ONLY,
        deps = deps + [
            "//toolchain:" + header,
            "@googletest//:gtest_main",
        ],
        **kwargs
    )

def host_binary(name, **kwargs):
    """A program that runs on the host, with sanitizers."""
    native.cc_binary(
        name = name,
        target_compatible_with = _HOST_ONLY,
        **kwargs
    )

def guest_program(name, srcs, visibility = None, testonly = None, **kwargs):
    """A static Linux program, the file NAME: it runs on Linux and inside Holstein. No sanitizers.

    `@googletest//:gtest_main` may be among its deps.

    Args:
      name: the target's name.
      srcs: .cc, .c, .S and .h files.
      visibility: as everywhere.
      testonly: as everywhere.
      **kwargs: cc_binary's attributes.
    """
    native.cc_binary(
        name = name + "_guest",
        srcs = srcs,
        tags = ["manual"],
        target_compatible_with = ["//toolchain:on_guest"],
        testonly = testonly,
        **kwargs
    )
    guest_binary(
        name = name,
        binary = name + "_guest",
        platform = "guest",
        testonly = testonly,
        visibility = visibility,
    )

def python_test(name, module, srcs, data = [], size = "small", **kwargs):
    """Runs the unittest module `module` ("tools.tests.cpio_test"), with Debian's python3.

    Bazel's own py_test is of no use here: its start script looks for a `python`, which Debian has
    not.

    Args:
      name: the target's name.
      module: the test module; the project's root is on Python's path.
      srcs: the module's file and every Python file that it imports.
      data: other files that it reads.
      size: as for host_test.
      **kwargs: sh_test's attributes.
    """
    native.sh_test(
        name = name,
        size = size,
        srcs = ["//toolchain:python_test.sh"],
        args = [module],
        data = srcs + data,
        **kwargs
    )

def kernel_elf_test(name, kernel, **kwargs):
    """Checks what a linked kernel is made of: see kernel_elf_test.py.

    Args:
      name: the target's name.
      kernel: the kernel_binary.
      **kwargs: sh_test's attributes.
    """
    native.sh_test(
        name = name,
        size = "small",
        srcs = ["//toolchain:kernel_elf_test.py"],
        args = ["$(rootpath %s)" % kernel],
        data = [kernel],
        **kwargs
    )
