"""Debian's cloud kernel: found with apt-cache, downloaded, unpacked, never installed.

The unpacked kernel stays in .cache/holstein/linux/PACKAGE/; it may be deleted at any time.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tools import state

META_PACKAGE = "linux-image-cloud-amd64"
_VMLINUZ = re.compile(r"^(\./)?(usr/lib/modules/[^/]+|boot)/vmlinuz[^/]*$")
_FACTS = "package.json"


class LinuxMissing(Exception):
    """There is no Linux to compare with; says why in one line."""


@dataclasses.dataclass(frozen=True)
class LinuxKernel:
    vmlinuz: Path
    package: str  # empty for a vmlinuz that somebody gave
    version: str  # the package's
    sha256: str  # of the vmlinuz

    @property
    def description(self) -> str:
        return f"{self.package} {self.version}" if self.package else str(self.vmlinuz)

    def facts(self) -> dict[str, str]:
        return {"package": self.package, "version": self.version, "file": str(self.vmlinuz),
                "sha256": self.sha256}


def sha256_of(path: str | os.PathLike) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def from_file(path: str) -> LinuxKernel:
    """A vmlinuz, or a .deb that holds one."""
    try:
        with open(path, "rb") as file:
            head = file.read(0x206)
    except OSError as error:
        raise LinuxMissing(f"{path}: {error.strerror}") from None
    if head.startswith(b"!<arch>\n"):
        return _unpack(Path(path), _folder() / f"file-{sha256_of(path)[:16]}")
    # The boot protocol's magic: Documentation/x86/boot.rst.
    if head[0x202:0x206] != b"HdrS":
        raise LinuxMissing(f"{path}: neither a vmlinuz nor a .deb package")
    return LinuxKernel(Path(path).resolve(), "", "", sha256_of(path))


def from_debian() -> LinuxKernel:
    """Today's cloud kernel of this Debian, from the cache where it is there already."""
    try:
        package = _resolve()
    except LinuxMissing as missing:
        return _newest_cached(missing)
    folder = _folder() / package
    known = _cached(folder)
    if known is not None:
        return known
    try:
        return _download(package, folder)
    except LinuxMissing as missing:
        return _newest_cached(missing)


def _folder() -> Path:
    return state.PROJECT / ".cache" / "holstein" / "linux"


def _resolve() -> str:
    """The package that holds the kernel, which the meta-package depends on."""
    listing = _run(["apt-cache", "depends", "--important", META_PACKAGE])
    match = re.search(r"^\s*(?:Pre)?Depends: (linux-image-[^\s<>]+)", listing, re.MULTILINE)
    if match is None:
        raise LinuxMissing(f"apt-cache knows no kernel for {META_PACKAGE}; "
                           "`apt-get update` may help")
    return match[1]


def _download(package: str, folder: Path) -> LinuxKernel:
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_folder(), prefix=".download-") as scratch:
            _run(["apt-get", "download", package], scratch)
            packages = list(Path(scratch).glob("*.deb"))
            if len(packages) != 1:
                raise LinuxMissing(f"apt-get download {package} left no package")
            return _unpack(packages[0], folder)
    except OSError as error:
        raise LinuxMissing(f"{error.filename or folder}: {error.strerror}") from None


def _unpack(deb: Path, folder: Path) -> LinuxKernel:
    """Takes the kernel out of a package, into `folder`; its modules are not needed."""
    known = _cached(folder)
    if known is not None:
        return known
    name, version = (_run(["dpkg-deb", "-f", str(deb), field]).strip()
                     for field in ("Package", "Version"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unpack-"))
        try:
            _extract(deb, scratch / "vmlinuz")
            facts = {"package": name, "version": version}
            (scratch / _FACTS).write_text(json.dumps(facts, indent=1))
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise LinuxMissing(f"{error.filename or folder}: {error.strerror}") from None
    return LinuxKernel(folder / "vmlinuz", name, version, sha256_of(folder / "vmlinuz"))


def _extract(deb: Path, vmlinuz: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacker:
        try:
            with tarfile.open(fileobj=unpacker.stdout, mode="r|") as archive:
                for member in archive:
                    if member.isfile() and _VMLINUZ.match(member.name):
                        with open(vmlinuz, "wb") as file:
                            shutil.copyfileobj(archive.extractfile(member), file)
                        return
        except tarfile.TarError:
            pass
        finally:
            unpacker.kill()
    raise LinuxMissing(f"{deb}: there is no boot/vmlinuz in this package")


def _cached(folder: Path) -> LinuxKernel | None:
    try:
        facts = json.loads((folder / _FACTS).read_text())
        vmlinuz = folder / "vmlinuz"
        return LinuxKernel(vmlinuz, facts["package"], facts["version"], sha256_of(vmlinuz))
    except (OSError, ValueError, KeyError):
        return None


def _newest_cached(missing: LinuxMissing) -> LinuxKernel:
    """An earlier download; raises what was missing where there is none."""
    try:
        folders = [folder for folder in _folder().iterdir()
                   if folder.name.startswith("linux-image-")]
    except OSError:
        folders = []
    for folder in sorted(folders, key=lambda one: one.stat().st_mtime, reverse=True):
        known = _cached(folder)
        if known is not None:
            return known
    raise missing


def _run(command: list[str], folder: str | None = None) -> str:
    try:
        run = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, errors="replace", env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        raise LinuxMissing(f"{command[0]}: {error.strerror}") from None
    if run.returncode != 0:
        lines = [line for line in run.stderr.splitlines() if line.startswith(("E:", "dpkg"))]
        said = lines[-1] if lines else f"status {run.returncode}"
        raise LinuxMissing(f"{' '.join(command)}: {said}")
    return run.stdout
