"""A header that is parsed once for each platform, for sources that would all begin with it."""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "ACTION_NAMES")
load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def precompiled_header_copts(name):
    """What a target that has the precompiled_header `//toolchain:NAME` among its deps passes on.

    Args:
      name: the target's name.

    Returns:
      a list for `copts`.
    """
    return ["-include-pch", "$(BINDIR)/toolchain/%s.h.pch" % name, "-isysroot", "."]

def _precompiled_header_impl(ctx):
    toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    info = cc_common.merge_cc_infos(cc_infos = [dep[CcInfo] for dep in ctx.attr.deps])
    context = info.compilation_context
    variables = cc_common.create_compile_variables(
        cc_toolchain = toolchain,
        feature_configuration = features,
        include_directories = context.includes,
        preprocessor_defines = context.defines,
        quote_include_directories = context.quote_includes,
        system_include_directories = context.system_includes,
    )
    flags = cc_common.get_memory_inefficient_command_line(
        action_name = ACTION_NAMES.cpp_compile,
        feature_configuration = features,
        variables = variables,
    )
    environment = cc_common.get_environment_variables(
        action_name = ACTION_NAMES.cpp_compile,
        feature_configuration = features,
        variables = variables,
    )
    header = ctx.actions.declare_file(ctx.label.name + ".h")
    ctx.actions.write(header, "#include <%s>\n" % ctx.attr.header)
    output = ctx.actions.declare_file(ctx.label.name + ".h.pch")

    # Relocatable: sandboxes come and go, so paths are kept relative to the folder that is named by
    # -isysroot, which for our compiler means nothing else. Sizes of headers are compared when it is
    # used, times are not: they are another machine's where it comes out of a cache.
    ctx.actions.run_shell(
        command = """exec "$@" -relocatable-pch -isysroot "$PWD" """,
        arguments = [
            cc_common.get_tool_for_action(
                feature_configuration = features,
                action_name = ACTION_NAMES.cpp_compile,
            ),
        ] + flags + [
            "-Xclang",
            "-fno-pch-timestamp",
            "-x",
            "c++-header",
            header.path,
            "-o",
            output.path,
        ],
        inputs = depset(
            [header] + ctx.files._versions,
            transitive = [context.headers, toolchain.all_files],
        ),
        outputs = [output],
        mnemonic = "PrecompileHeader",
        env = environment,
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
        "deps": attr.label_list(mandatory = True, providers = [CcInfo]),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
        # Other headers of the machine, another precompiled one: the compiler refuses the old one.
        "_versions": attr.label(default = "@package_versions//:compiler_headers"),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
    incompatible_use_toolchain_transition = True,
)
