"""Rules that build their dependencies for another platform than the command line's."""

def _platform_transition_impl(_settings, attr):
    return {"//command_line_option:platforms": "//toolchain:" + attr.platform}

_platform_transition = transition(
    implementation = _platform_transition_impl,
    inputs = [],
    outputs = ["//command_line_option:platforms"],
)

_TRANSITION_ATTRS = {
    "platform": attr.string(mandatory = True),
    "_allowlist_function_transition": attr.label(
        default = "@bazel_tools//tools/allowlists/function_transition_allowlist",
    ),
}

def _objects_of(deps):
    """All object files that `deps` link, each once, in link order."""
    linker_inputs = depset(
        transitive = [dep[CcInfo].linking_context.linker_inputs for dep in deps],
        order = "topological",
    )
    objects = []
    for linker_input in linker_inputs.to_list():
        for library in linker_input.libraries:
            objects.extend(library.objects or library.pic_objects or [])
    return objects

def _kernel_binary_impl(ctx):
    objects = _objects_of(ctx.attr.deps)
    script = ctx.file.linker_script
    output = ctx.outputs.out
    map_file = ctx.actions.declare_file(output.basename + ".map", sibling = output)

    arguments = ctx.actions.args()
    arguments.add_all([
        "-pie",
        "--no-dynamic-linker",
        # No relocation may be left in what is mapped read-only, and only relative ones elsewhere.
        "-z",
        "text",
        "-z",
        "separate-code",
        "-z",
        "max-page-size=4096",
        "--hash-style=sysv",
        "--build-id=sha1",
        "--gc-sections",
        "--no-undefined",
        "--orphan-handling=error",
        "--fatal-warnings",
        "--entry=" + ctx.attr.entry,
    ])
    arguments.add("-T", script)
    arguments.add("-Map", map_file)
    arguments.add("-o", output)
    arguments.add_all(objects)
    arguments.use_param_file("@%s")
    arguments.set_param_file_format("multiline")

    ctx.actions.run(
        executable = "/usr/lib/llvm-19/bin/ld.lld",
        arguments = [arguments],
        inputs = objects + [script],
        outputs = [output, map_file],
        mnemonic = "KernelLink",
        progress_message = "Linking " + output.short_path,
    )
    return [
        DefaultInfo(files = depset([output]), runfiles = ctx.runfiles([output])),
        OutputGroupInfo(map = depset([map_file])),
    ]

_kernel_binary = rule(
    implementation = _kernel_binary_impl,
    attrs = dict(
        _TRANSITION_ATTRS,
        deps = attr.label_list(providers = [CcInfo], cfg = _platform_transition, mandatory = True),
        linker_script = attr.label(allow_single_file = True, mandatory = True),
        entry = attr.string(mandatory = True),
        out = attr.output(mandatory = True),
    ),
)

def kernel_binary(name, deps, linker_script, mode, entry = "_start", out = None, **kwargs):
    """Links a kernel: a static position-independent ELF file with its debug information.

    Every object of `deps` is linked, whether something refers to it or not; sections that nothing
    reaches are dropped unless the linker script KEEPs them.

    Args:
      name: the target's name.
      deps: cc_library targets; they are built for the kernel in `mode`.
      linker_script: places the sections; must name every section that occurs.
      mode: "opt" or "debug".
      entry: the entry point's symbol.
      out: the file's name; NAME.elf where none is given.
      **kwargs: common attributes (visibility, tags, testonly).
    """
    _kernel_binary(
        name = name,
        deps = deps,
        entry = entry,
        linker_script = linker_script,
        out = out or name + ".elf",
        platform = "kernel_" + mode,
        **kwargs
    )

def _efi_application_impl(ctx):
    objects = _objects_of(ctx.attr.deps)
    output = ctx.outputs.out
    debug_info = ctx.actions.declare_file(output.basename + ".pdb", sibling = output)

    arguments = ctx.actions.args()
    arguments.add_all([
        "/subsystem:efi_application",
        "/entry:" + ctx.attr.entry,
        "/nodefaultlib",
        "/dynamicbase",
        "/nxcompat",
        "/opt:ref",
        "/WX",
        # No time of day in the file: the same sources give the same bytes.
        "/Brepro",
        "/debug",
    ])
    arguments.add(debug_info, format = "/pdb:%s")
    arguments.add(output, format = "/out:%s")
    arguments.add_all(objects)

    ctx.actions.run(
        executable = "/usr/lib/llvm-19/bin/lld-link",
        arguments = [arguments],
        inputs = objects,
        outputs = [output, debug_info],
        mnemonic = "EfiLink",
        progress_message = "Linking " + output.short_path,
    )
    return [
        DefaultInfo(files = depset([output]), runfiles = ctx.runfiles([output])),
        OutputGroupInfo(pdb = depset([debug_info])),
    ]

_efi_application = rule(
    implementation = _efi_application_impl,
    attrs = dict(
        _TRANSITION_ATTRS,
        deps = attr.label_list(providers = [CcInfo], cfg = _platform_transition, mandatory = True),
        entry = attr.string(mandatory = True),
        out = attr.output(mandatory = True),
    ),
)

def efi_application(name, deps, entry = "efi_main", out = None, **kwargs):
    """Links a UEFI application from `deps`, which are built for UEFI.

    Args:
      name: the target's name.
      deps: cc_library targets.
      entry: the entry point's symbol.
      out: the file's name; NAME.efi where none is given.
      **kwargs: common attributes.
    """
    _efi_application(
        name = name,
        deps = deps,
        entry = entry,
        out = out or name + ".efi",
        platform = "uefi",
        **kwargs
    )

def _guest_binary_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.run_shell(
        command = "cp -- \"$1\" \"$2\"",
        arguments = [ctx.executable.binary.path, output.path],
        inputs = [ctx.executable.binary],
        outputs = [output],
        mnemonic = "CopyGuestProgram",
    )
    return [DefaultInfo(
        executable = output,
        files = depset([output]),
        runfiles = ctx.runfiles([output]),
    )]

guest_binary = rule(
    implementation = _guest_binary_impl,
    attrs = dict(
        _TRANSITION_ATTRS,
        binary = attr.label(executable = True, cfg = _platform_transition, mandatory = True),
    ),
    executable = True,
)

def _qemu_plugin_impl(ctx):
    objects = _objects_of(ctx.attr.deps)
    output = ctx.outputs.out
    arguments = ctx.actions.args()
    arguments.add_all([
        "-shared",
        "-fuse-ld=lld",
        # The C++ library goes in and stays hidden: QEMU may load another one.
        "-stdlib=libc++",
        "-static-libstdc++",
        "-static-libgcc",
        "-Wl,--exclude-libs,ALL",
        "-Wl,--gc-sections",
        "-Wl,-z,now",
    ])
    arguments.add(output, format = "-o%s")
    arguments.add_all(objects)
    ctx.actions.run(
        executable = "/usr/lib/llvm-19/bin/clang++",
        arguments = [arguments],
        inputs = objects,
        outputs = [output],
        mnemonic = "PluginLink",
        progress_message = "Linking " + output.short_path,
    )
    return [DefaultInfo(files = depset([output]), runfiles = ctx.runfiles([output]))]

_qemu_plugin = rule(
    implementation = _qemu_plugin_impl,
    attrs = dict(
        _TRANSITION_ATTRS,
        deps = attr.label_list(providers = [CcInfo], cfg = _platform_transition, mandatory = True),
        out = attr.output(mandatory = True),
    ),
)

def qemu_plugin(name, deps, **kwargs):
    """Links NAME.so, a plugin for QEMU on the machine that builds.

    Its objects are those of the guest's platform: Linux's, without sanitizers. QEMU has the
    functions of its plugin interface; they stay undefined.

    Args:
      name: the target's name.
      deps: cc_library targets, compiled with -fPIC.
      **kwargs: common attributes.
    """
    _qemu_plugin(
        name = name,
        deps = deps,
        out = name + ".so",
        platform = "guest",
        **kwargs
    )
