"""How the toolchain compiles a C++ source, for rules that have something else done with it."""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "ACTION_NAMES")
load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def compile_command(
        ctx,
        context,
        requested_features = [],
        unsupported_features = [],
        defines = [],
        copts = []):
    """The command for the platform of a rule or an aspect, without source and output.

    Args:
      ctx: of a rule with an attribute _cc_toolchain and the fragment "cpp".
      context: the CcCompilationContext of what the source includes.
      requested_features: of the toolchain, as in the attribute `features`.
      unsupported_features: features that are left out.
      defines: macros besides the context's.
      copts: further flags.

    Returns:
      a struct of `compiler` (a path), `flags` (a list), `environment` (a dict) and `inputs` (a depset
      of what an action needs besides the source).
    """
    toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = requested_features,
        unsupported_features = unsupported_features,
    )
    variables = cc_common.create_compile_variables(
        cc_toolchain = toolchain,
        feature_configuration = features,
        include_directories = context.includes,
        preprocessor_defines = depset(defines, transitive = [context.defines]),
        quote_include_directories = context.quote_includes,
        system_include_directories = context.system_includes,
        user_compile_flags = copts,
    )
    how = {"action_name": ACTION_NAMES.cpp_compile, "feature_configuration": features}
    return struct(
        compiler = cc_common.get_tool_for_action(**how),
        flags = cc_common.get_memory_inefficient_command_line(variables = variables, **how),
        environment = cc_common.get_environment_variables(variables = variables, **how),
        inputs = depset(transitive = [context.headers, toolchain.all_files]),
    )
