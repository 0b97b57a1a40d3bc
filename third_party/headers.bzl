"""Repositories over what Debian packages installed: one folder of headers, or their versions."""

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

_DPKG_INFO = "/var/lib/dpkg/info/"

def _package_versions_impl(repository_ctx):
    files = []
    for package in repository_ctx.attr.packages:
        for qualified in (package, package + ":amd64"):
            path = repository_ctx.path(_DPKG_INFO + qualified + ".md5sums")
            if path.exists:
                repository_ctx.symlink(path, package)
                files.append(package)
    repository_ctx.file("BUILD.bazel", """filegroup(
    name = "compiler_headers",
    srcs = %s,
    visibility = ["//visibility:public"],
)
""" % repr(files))

# The checksums of the headers that compilers read and no target lists: they change with the packages.
package_versions = repository_rule(
    implementation = _package_versions_impl,
    attrs = {"packages": attr.string_list(mandatory = True)},
    local = True,
)
