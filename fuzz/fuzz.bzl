"""Fuzz targets: a harness, a libFuzzer program of it, and a test that replays its corpus."""

load("//toolchain:defs.bzl", "host_library")
load("//toolchain:freestanding.bzl", "guest_binary")

def fuzz_target(name, srcs, deps):
    """Makes three targets of a harness, which defines LLVMFuzzerTestOneInput.

    NAME is the libFuzzer program, built with what it tests for the platform //toolchain:fuzz.
    NAME_corpus_test runs each file of corpus/NAME through the harness; it needs no libFuzzer.

    Args:
      name: the target's name, as `./holstein fuzz` takes it.
      srcs: the harness.
      deps: what it tests.
    """
    host_library(
        name = name + "_harness",
        testonly = True,
        srcs = srcs + [":support"],
        alwayslink = True,
        deps = deps,
    )
    native.cc_binary(
        name = name + "_libfuzzer",
        testonly = True,
        # Debian's libFuzzer is built with the other C++ library.
        linkopts = [
            "-fsanitize=fuzzer",
            "-l:libstdc++.so.6",
        ],
        tags = ["manual"],
        target_compatible_with = ["//toolchain:on_host"],
        deps = [name + "_harness"],
    )
    guest_binary(
        name = name,
        testonly = True,
        binary = name + "_libfuzzer",
        platform = "fuzz",
        tags = ["manual"],
    )
    native.cc_test(
        name = name + "_corpus_test",
        size = "small",
        srcs = [":replay"],
        args = ["fuzz/corpus/" + name],
        data = native.glob(["corpus/%s/*" % name]),
        target_compatible_with = ["//toolchain:on_host"],
        deps = [name + "_harness"],
    )
