"""A header that is parsed once for each platform, for sources that would all begin with it."""

load(":compile_command.bzl", "compile_command")

def precompiled_header_copts(name):
    """What a target that has the precompiled_header `//toolchain:NAME` among its deps passes on.

    Args:
      name: the target's name.

    Returns:
      a list for `copts`.
    """
    return ["-include-pch", "$(BINDIR)/toolchain/%s.h.pch" % name, "-isysroot", "."]

def _precompiled_header_impl(ctx):
    info = cc_common.merge_cc_infos(cc_infos = [dep[CcInfo] for dep in ctx.attr.deps])
    command = compile_command(
        ctx,
        info.compilation_context,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
        copts = ctx.attr.copts,
    )
    header = ctx.actions.declare_file(ctx.label.name + ".h")
    ctx.actions.write(header, "#include <%s>\n" % ctx.attr.header)
    output = ctx.actions.declare_file(ctx.label.name + ".h.pch")

    # Relocatable: sandboxes come and go, so paths are kept relative to the folder that is named by
    # -isysroot, which for our compiler means nothing else. Sizes of headers are compared when it is
    # used, times are not: they are another machine's where it comes out of a cache.
    ctx.actions.run_shell(
        command = """exec "$@" -relocatable-pch -isysroot "$PWD" """,
        arguments = [command.compiler] + command.flags + [
            "-Xclang",
            "-fno-pch-timestamp",
            "-x",
            "c++-header",
            header.path,
            "-o",
            output.path,
        ],
        inputs = depset([header] + ctx.files._versions, transitive = [command.inputs]),
        outputs = [output],
        mnemonic = "PrecompileHeader",
        env = command.environment,
        progress_message = "Precompiling <%s>" % ctx.attr.header,
    )
    own = CcInfo(compilation_context = cc_common.create_compilation_context(
        headers = depset([header, output]),
    ))
    return [
        DefaultInfo(files = depset([output])),
        cc_common.merge_cc_infos(cc_infos = [own, info]),
    ]

precompiled_header = rule(
    implementation = _precompiled_header_impl,
    attrs = {
        "header": attr.string(mandatory = True, doc = "as it stands in #include <...>"),
        "copts": attr.string_list(doc = "flags that the sources have besides the toolchain's"),
        "deps": attr.label_list(mandatory = True, providers = [CcInfo]),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
        # Other headers of the machine, another precompiled one: the compiler refuses the old one.
        "_versions": attr.label(default = "@package_versions//:compiler_headers"),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
    incompatible_use_toolchain_transition = True,
)
