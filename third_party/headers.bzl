"""Repositories over one folder of headers that a Debian package installed."""

def _debian_headers_impl(repository_ctx):
    path = repository_ctx.path(repository_ctx.attr.path)
    if not path.exists:
        fail("%s is missing: install Debian's package for it (./holstein does)" % path)

    # The folder keeps its name, so that <boost/...> resolves while nothing else of /usr/include
    # does.
    repository_ctx.symlink(path, "include/" + path.basename)
    repository_ctx.symlink(repository_ctx.attr.build_file, "BUILD.bazel")

debian_headers = repository_rule(
    implementation = _debian_headers_impl,
    attrs = {
        "path": attr.string(mandatory = True),
        "build_file": attr.label(mandatory = True, allow_single_file = True),
    },
    local = True,
)
