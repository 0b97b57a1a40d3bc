"""How Clang 19 is called for each role: on the host, in the guest, in the kernel, under UEFI."""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "ACTION_NAMES")
load(
    "@bazel_tools//tools/cpp:cc_toolchain_config_lib.bzl",
    "env_entry",
    "env_set",
    "feature",
    "flag_group",
    "flag_set",
    "tool_path",
)

_LLVM = "/usr/lib/llvm-19"
_BIN = _LLVM + "/bin/"
_FREESTANDING = "toolchain/freestanding/"

_CPP_ACTIONS = [
    ACTION_NAMES.cpp_compile,
    ACTION_NAMES.cpp_header_parsing,
    ACTION_NAMES.linkstamp_compile,
]
_COMPILE_ACTIONS = _CPP_ACTIONS + [
    ACTION_NAMES.c_compile,
    ACTION_NAMES.assemble,
    ACTION_NAMES.preprocess_assemble,
]
_LINK_ACTIONS = [ACTION_NAMES.cpp_link_executable]

# Compilers allocate much and live short: huge pages, asked for in large steps and never given back,
# save up to a third of their time where page faults are dear (glibc 2.35 and later).
_ALLOCATOR = ":".join([
    "glibc.malloc.hugetlb=1",
    "glibc.malloc.top_pad=134217728",
    "glibc.malloc.mmap_threshold=268435456",
    "glibc.malloc.trim_threshold=536870912",
])

_ANY_ROLE = [
    "-fno-omit-frame-pointer",
    "-fno-strict-aliasing",
    "-ffunction-sections",
    "-fdata-sections",
    # Paths in debug information and __FILE__ are relative to the project's root, so that they are
    # the same in every sandbox and gdb finds the sources.
    "-ffile-compilation-dir=.",
    "-no-canonical-prefixes",
    "-Wno-builtin-macro-redefined",
    "-D__DATE__=\"redacted\"",
    "-D__TIME__=\"redacted\"",
    "-D__TIMESTAMP__=\"redacted\"",
]

# libc++'s headers on a minimal C library of our own instead of Debian's.
_FREESTANDING_FLAGS = [
    "-ffreestanding",
    "-nostdinc",
    "-isystem",
    _FREESTANDING + "libcxx",
    "-isystem",
    _LLVM + "/include/c++/v1",
    "-isystem",
    _LLVM + "/lib/clang/19/include",
    "-isystem",
    _FREESTANDING + "libc",
    # No SSE: the vector registers belong to user programs (and UEFI needs none).
    "-mno-red-zone",
    "-mno-mmx",
    "-mno-sse",
    "-mno-avx",
]

_HARDENED_FAST = "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_FAST"
_HARDENED_DEBUG = "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_DEBUG"

_SANITIZERS = [
    "-fsanitize=address,undefined",
    "-fno-sanitize=vptr",
    "-fno-sanitize-recover=all",
]

_COMPILE_FLAGS = {
    "host": [
        "-O1",
        "-gline-tables-only",
        "-DHOLSTEIN_DEBUG=1",
        _HARDENED_DEBUG,
    ],
    "guest": [
        "-O2",
        "-gline-tables-only",
        "-DHOLSTEIN_DEBUG=0",
    ],
    "kernel": [
        "--target=x86_64-linux-gnu",
        # A static PIE: the loader slides it and applies its relocations. Everything is hidden, so
        # that no symbol needs a GOT entry.
        "-fpie",
        "-fvisibility=hidden",
        "-fvisibility-inlines-hidden",
        "-g",
        # Backtraces follow frame pointers; gdb has .debug_frame, which is not loaded.
        "-fno-asynchronous-unwind-tables",
        "-fsanitize=kcfi",
        "-fstack-protector-strong",
        "-mstack-protector-guard=global",
        "-ftrivial-auto-var-init=zero",
    ] + _FREESTANDING_FLAGS,
    "uefi": [
        "--target=x86_64-unknown-windows",
        "-O2",
        "-g",
        "-fshort-wchar",
        "-DHOLSTEIN_DEBUG=0",
        _HARDENED_FAST,
    ] + _FREESTANDING_FLAGS,
}

_KERNEL_MODE_FLAGS = {
    "opt": ["-O2", "-flto=thin", "-DHOLSTEIN_DEBUG=0", _HARDENED_FAST],
    "debug": ["-O1", "-DHOLSTEIN_DEBUG=1", _HARDENED_DEBUG],
}

# After those of the host.
_FUZZ_FLAGS = [
    "-O2",
    # All checks of how the library is used. The debug mode adds checks of the library itself, which
    # go through a whole tree for each node that leaves it.
    "-U_LIBCPP_HARDENING_MODE",
    "-D_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_EXTENSIVE",
    # Counts what is executed; libFuzzer itself is linked by the targets of //fuzz.
    "-fsanitize=fuzzer-no-link",
    "-fsanitize-coverage-ignorelist=toolchain/fuzz_uncounted.txt",
]

_LINK_FLAGS = {
    "host": ["-fuse-ld=lld", "-stdlib=libc++", "-pthread"] + _SANITIZERS,
    "guest": ["-fuse-ld=lld", "-stdlib=libc++", "-static", "-pthread", "-Wl,--gc-sections"],
    # Linked by rules of their own: freestanding.bzl.
    "kernel": [],
    "uefi": [],
}

def _flags(name, actions, flags, enabled = True):
    return feature(
        name = name,
        enabled = enabled,
        flag_sets = [flag_set(actions = actions, flag_groups = [flag_group(flags = flags)])] if flags else [],
    )

def _impl(ctx):
    role = ctx.attr.role
    freestanding = role in ["kernel", "uefi"]

    compile_flags = _ANY_ROLE + _COMPILE_FLAGS[role]
    if role == "kernel":
        compile_flags = compile_flags + _KERNEL_MODE_FLAGS[ctx.attr.mode]
    if ctx.attr.mode == "fuzz":
        compile_flags = compile_flags + _FUZZ_FLAGS

    features = [
        _flags("role_flags", _COMPILE_ACTIONS, compile_flags),
        _flags(
            "language",
            _CPP_ACTIONS,
            ["-std=c++23"] + ([] if freestanding else ["-stdlib=libc++"]),
        ),
        # The driver is clang++, which would compile C as C++.
        _flags("c_language", [ACTION_NAMES.c_compile], ["-xc", "-std=c17"]),
        # Third-party packages switch this off.
        _flags(
            "warnings",
            _COMPILE_ACTIONS,
            ["-Wall", "-Wextra", "-Werror", "-Wthread-safety"] +
            # Nobody runs constructors of globals there.
            (["-Wglobal-constructors"] if freestanding else []),
        ),
        # Our own code may run in the kernel and has neither anywhere; tests on the host may.
        _flags(
            "no_exceptions",
            _CPP_ACTIONS,
            ["-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"],
            enabled = freestanding,
        ),
        # Nothing there ever ends in a way that could run destructors of globals.
        _flags(
            "no_static_destructors",
            _CPP_ACTIONS,
            ["-fno-c++-static-destructors"] if freestanding else [],
        ),
        _flags("sanitizers", _COMPILE_ACTIONS, _SANITIZERS if role == "host" else []),
        _flags("role_link_flags", _LINK_ACTIONS, _LINK_FLAGS[role]),
        feature(
            name = "allocator",
            enabled = True,
            env_sets = [env_set(
                actions = _COMPILE_ACTIONS + _LINK_ACTIONS,
                env_entries = [env_entry("GLIBC_TUNABLES", _ALLOCATOR)],
            )],
        ),
        # Objects go straight to the linker, as --start-lib groups: no archives are built.
        feature(name = "supports_start_end_lib", enabled = True),
    ]

    return cc_common.create_cc_toolchain_config_info(
        ctx = ctx,
        toolchain_identifier = "holstein-" + role + "-" + ctx.attr.mode,
        host_system_name = "x86_64-linux",
        target_system_name = "x86_64-" + role,
        target_cpu = "k8",
        target_libc = "none" if freestanding else "glibc",
        compiler = "clang",
        abi_version = "clang-19",
        abi_libc_version = "none" if freestanding else "glibc",
        cxx_builtin_include_directories = [
            _LLVM + "/include/c++/v1",
            _LLVM + "/lib/clang/19",
        ] + (["%workspace%/" + _FREESTANDING] if freestanding else ["/usr/include"]),
        features = features,
        tool_paths = [
            tool_path(name = "gcc", path = _BIN + "clang++"),
            tool_path(name = "cpp", path = _BIN + "clang-cpp"),
            tool_path(name = "ar", path = _BIN + "llvm-ar"),
            tool_path(name = "ld", path = _BIN + "ld.lld"),
            tool_path(name = "nm", path = _BIN + "llvm-nm"),
            tool_path(name = "objcopy", path = _BIN + "llvm-objcopy"),
            tool_path(name = "objdump", path = _BIN + "llvm-objdump"),
            tool_path(name = "strip", path = _BIN + "llvm-strip"),
            tool_path(name = "gcov", path = _BIN + "llvm-cov"),
        ],
    )

clang_toolchain_config = rule(
    implementation = _impl,
    attrs = {
        "mode": attr.string(mandatory = True, values = ["opt", "debug", "fuzz"]),
        "role": attr.string(mandatory = True, values = ["host", "guest", "kernel", "uefi"]),
    },
    provides = [CcToolchainConfigInfo],
)
