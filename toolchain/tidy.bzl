"""clang-tidy as a test of each library, with one cached action for each file."""

load(":compile_command.bzl", "compile_command")

_TidyInfo = provider(fields = {"reports": "what clang-tidy said of each file, empty where nothing"})

def _tidy_aspect_impl(target, ctx):
    command = compile_command(
        ctx,
        target[CcInfo].compilation_context,
        requested_features = ctx.rule.attr.features,
        # Compiling warns already; sanitizers only slow the parser down.
        unsupported_features = ["warnings", "sanitizers"],
        copts = ctx.rule.attr.copts + ["-D" + define for define in ctx.rule.attr.local_defines],
    )
    # -fsanitize=kcfi has no meaning for a parser and other roles refuse it.
    sources = [
        file
        for src in ctx.rule.attr.srcs
        for file in src.files.to_list()
    ]
    reports = []
    for source in sources:
        if source.extension != "cc":
            continue
        report = ctx.actions.declare_file("%s.%s.tidy" % (target.label.name, source.basename))
        ctx.actions.run_shell(
            command = """
report=$1 source=$2; shift 2
/usr/lib/llvm-19/bin/clang-tidy --quiet --config-file=.clang-tidy "$source" -- "$@" > "$report" 2> "$report.err"
status=$?
if [ $status -ne 0 ] && [ ! -s "$report" ]; then cat "$report.err" > "$report"; fi
rm -f "$report.err"
""",
            arguments = [report.path, source.path] + command.flags,
            inputs = depset(sources + [ctx.file._config], transitive = [command.inputs]),
            outputs = [report],
            mnemonic = "ClangTidy",
            env = command.environment,
            progress_message = "Checking " + source.short_path,
        )
        reports.append(report)
    return [_TidyInfo(reports = reports)]

_tidy_aspect = aspect(
    implementation = _tidy_aspect_impl,
    attrs = {
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
        "_config": attr.label(default = "//:.clang-tidy", allow_single_file = True),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
    incompatible_use_toolchain_transition = True,
)

def _platform_transition_impl(_settings, attr):
    return {"//command_line_option:platforms": "//toolchain:" + attr.platform}

_platform_transition = transition(
    implementation = _platform_transition_impl,
    inputs = [],
    outputs = ["//command_line_option:platforms"],
)

def _tidy_test_impl(ctx):
    reports = ctx.attr.target[0][_TidyInfo].reports
    script = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(
        output = script,
        content = "#!/bin/bash\ncat %s | { ! grep . ; }\n" %
                  " ".join([report.short_path for report in reports]),
        is_executable = True,
    )
    return [DefaultInfo(executable = script, runfiles = ctx.runfiles(reports))]

tidy_test = rule(
    implementation = _tidy_test_impl,
    attrs = {
        "platform": attr.string(mandatory = True),
        "target": attr.label(
            aspects = [_tidy_aspect],
            cfg = _platform_transition,
            mandatory = True,
            providers = [CcInfo],
        ),
        "_allowlist_function_transition": attr.label(
            default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
        ),
    },
    test = True,
)
