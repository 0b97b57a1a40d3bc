"""A test that passes where source does not compile, for the reason that was expected."""

load(":compile_command.bzl", "compile_command")

def _compile(ctx, macro, log, status):
    """Registers the action that compiles the snippet with `macro` and notes how that went."""
    context = cc_common.merge_cc_infos(
        cc_infos = [dep[CcInfo] for dep in ctx.attr.deps],
    ).compilation_context
    command = compile_command(
        ctx,
        context,
        requested_features = ctx.features + ["no_exceptions"],
        # The snippet is parsed, not run.
        unsupported_features = ctx.disabled_features + ["sanitizers"],
        defines = [macro] if macro else [],
    )
    source = ctx.file.src
    ctx.actions.run_shell(
        command = "log=$1 status=$2; shift 2; LC_ALL=C \"$@\" > \"$log\" 2>&1; echo $? > \"$status\"",
        arguments = [log.path, status.path, command.compiler] + command.flags +
                    ["-fsyntax-only", "-fno-caret-diagnostics", source.path],
        inputs = depset([source], transitive = [command.inputs]),
        outputs = [log, status],
        mnemonic = "CompileFail",
        env = command.environment,
        progress_message = "Compiling %s, which should fail (%s)" % (source.short_path, macro),
    )

def _compile_fail_test_impl(ctx):
    lines = []
    files = []
    for macro, expected in [("", "")] + ctx.attr.cases.items():
        stem = ctx.label.name + ("." + macro if macro else ".control")
        log = ctx.actions.declare_file(stem + ".log")
        status = ctx.actions.declare_file(stem + ".status")
        _compile(ctx, macro, log, status)
        files += [log, status]
        quoted = expected.replace("'", "'\\''")
        lines.append("check '%s' %s %s '%s'" % (macro, log.short_path, status.short_path, quoted))

    check = """#!/bin/bash
failed=0
# check MACRO LOG STATUS EXPECTED: with no macro the source must compile.
check() {
  if [ -z "$1" ]; then
    [ "$(cat "$3")" = 0 ] && return
    echo "without any case the source must compile, but:"; cat "$2"; failed=1
  elif [ "$(cat "$3")" = 0 ]; then
    echo "$1: compiles, and must not"; failed=1
  elif ! grep -qE -- "$4" "$2"; then
    echo "$1: fails to compile, but not with: $4"; cat "$2"; failed=1
  fi
}
"""
    script = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(
        output = script,
        content = "\n".join([check] + lines + ["exit $failed", ""]),
        is_executable = True,
    )
    return [DefaultInfo(executable = script, runfiles = ctx.runfiles(files))]

compile_fail_cases_test = rule(
    implementation = _compile_fail_test_impl,
    attrs = {
        "cases": attr.string_dict(mandatory = True, allow_empty = False),
        "deps": attr.label_list(providers = [CcInfo]),
        "src": attr.label(allow_single_file = [".cc"], mandatory = True),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    fragments = ["cpp"],
    test = True,
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
    incompatible_use_toolchain_transition = True,
)

def compile_fail_test(name, src, deps, expected = None, cases = None, **kwargs):
    """Passes where `src` compiles as it is, and fails to compile in every case.

    Args:
      name: the target's name.
      src: the snippet. Each case is one `#ifdef MACRO` of it.
      deps: the libraries whose headers it includes.
      expected: what the compiler must say where the snippet has the one case MUST_NOT_COMPILE;
        an extended regular expression, searched for in the diagnostics.
      cases: for snippets with several cases: {MACRO: expected}.
      **kwargs: common attributes.
    """
    if (expected == None) == (cases == None):
        fail("%s: give either expected or cases" % name)
    compile_fail_cases_test(
        name = name,
        size = "small",
        cases = cases or {"MUST_NOT_COMPILE": expected},
        deps = deps,
        src = src,
        **kwargs
    )
