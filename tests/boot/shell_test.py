"""The interactive shell: line editing, vi, Ctrl-C, job control, as on Linux; then fork bombs."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.boot.boot_files import boot_files
from tests.boot.linux_terminal import converse
from tools.guest import Outcome
from tools.runner import RunRequest, run_guest

_BUSYBOX = "/bin/busybox"
_MIB = 1 << 20
_PROMPT = b"ready> "
_WINDOW = (24, 80)
_LAST = b"echo the-same-so-far\r"

# (what must appear, what is typed then): the same on Linux and on Holstein.
_CONVERSATION = [
    (_PROMPT, b"echo $((6 * 7))\r"),
    (b"42\r\n" + _PROMPT, b"stty size\r"),
    (b"24 80\r\n" + _PROMPT, b"mkdir f; cd f; vi notes\r"),
    (b"notes", b"iwritten in vi\rsecond line"),
    (b"second line", b"\x1b"),
    (b"- notes [Modified]", b":wq\r"),
    (_PROMPT, b"cat notes; wc -c < notes\r"),
    (b"\n26\r\n" + _PROMPT, b"vi notes\r"),
    (b"second line", b"Goa third"),
    (b"third", b"\x1b"),
    (b"- notes [Modified]", b":q!\r"),
    (_PROMPT, b"tail -n 1 notes\r"),
    (b"\nsecond line\r\n" + _PROMPT,
     b"sh -c 'echo sleeping; exec sleep 100'; echo not reached\r"),
    (b"sleeping\r\n", b"\x03"),
    (_PROMPT, b"echo status $?\r"),
    (b"status 130\r\n" + _PROMPT, b"sh -c 'echo type; exec cat > typed'\r"),
    (b"type\r\n", b"mistakX\x7fe\rsecond\r\x04"),
    (_PROMPT, b"sha256sum < typed; cat typed\r"),
    (b"second\r\n" + _PROMPT, b"sh -c 'echo asleep; exec sleep 1000'\r"),
    (b"asleep\r\n", b"\x1a"),
    (b"Stopped", b""),
    (_PROMPT, b"jobs | wc -l; bg > /dev/null; kill %1; wait; echo reaped\r"),
    (b"reaped\r\n", b""),
    (_PROMPT, b"stty -echo; echo hidden; read -r secret; stty echo\r"),
    (b"hidden\r\n", b"unseen\r"),
    (_PROMPT, b"echo \"[$secret]\"\r"),
    (b"[unseen]\r\n" + _PROMPT, b"echo abc\x1b[D\x1b[D\x7fX\r"),
    (b"Xbc\r\n" + _PROMPT, b"\x1b[A\x1b[A"),
    (b"$secret]\"\x1b[J", b"\x03"),
    (b"^C\r\n" + _PROMPT, b"sh -c 'kill -SEGV $$'\r"),
    (b"Segmentation fault\r\n" + _PROMPT, b"yes | head -n 3\r"),
    (b"\ny\r\ny\r\n" + _PROMPT, b"sleep 1 & wait\r"),
    (b"Done", b""),
    (_PROMPT, b"cd ..; rm -r f\r"),
    (_PROMPT, _LAST),
]
_ON_LINUX = _CONVERSATION + [(b"the-same-so-far\r\n" + _PROMPT, b"exit 9\r")]

_BOMB = b"bomb() { bomb | bomb & }; bomb\r"
# Only on Holstein: a bomb within limits, then one without, in 256 MiB.
_IN_GUEST = _CONVERSATION + [
    (b"the-same-so-far\r\n" + _PROMPT,
     b"su -s /bin/sh user -c 'ulimit -u 200; bomb() { bomb | bomb & }; bomb' 2> /dev/null\r"),
    (_PROMPT, b"sleep 3; set -- /proc/[0-9]*; [ $# -le 230 ] && echo bounded\r"),
    (b"bounded\r\n", b"su -s /bin/sh user -c 'kill -KILL -1'\r"),
    (_PROMPT, b"su -s /bin/sh user -c 'kill -KILL -1'; sleep 1; echo first-$((40 + 2))\r"),
    (b"first-42\r\n", b"exec 2> /dev/null\r"),
    (b"", _BOMB),
    (b"bomb\r\n", b"sleep 8\r"),
    (b"sleep 8\r\n", b"echo usable-$((40 + 2))\r"),
    # One kill() gets them all. Until they have gone there may be no place for another process.
    (b"usable-42\r\n", b"kill -KILL -1; while set -- /proc/[0-9]*; [ $# -gt 10 ]; do :; done\r"),
    (b"done\r\n", b"echo after-$((40 + 3)); seq 1 20000 | sort -rn | head -n 1\r"),
    (b"after-43\r\n20000\r\n", b"free | wc -l; exit 9\r"),
]


class ShellTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.guest = run_guest(RunRequest(
            boot_files(), [_BUSYBOX, "sh", "-i"], conversation=_IN_GUEST, stdout="tty", stderr="tty",
            window=_WINDOW, cwd="/tmp", env=_environment("/root"), memory_bytes=256 * _MIB,
            timeout_seconds=200))
        cls.shown = f"{cls.guest.outcome.name}: {cls.guest.message}\n" + "\n".join(
            data[-2500:].decode("utf-8", "replace")
            for data in (cls.guest.terminal, cls.guest.log))

    def test_the_terminal_shows_what_it_shows_on_linux(self):
        with tempfile.TemporaryDirectory(prefix="shell-") as folder:
            applets = os.path.join(folder, "applets")
            os.mkdir(applets)
            subprocess.run([_BUSYBOX, "--install", "-s", applets], check=True)
            linux, status = converse([_BUSYBOX, "sh", "-i"], _ON_LINUX,
                                     _environment(folder, applets), folder, _WINDOW, 60)
        self.assertEqual(status, 9)
        self.assertEqual(_comparable(self.guest.terminal), _comparable(linux), self.shown)

    def test_the_shell_survives_fork_bombs(self):
        terminal = self.guest.terminal
        for words in (b"bounded\r\n", b"first-42\r\n", b"usable-42\r\n", b"after-43\r\n20000\r\n"):
            self.assertIn(words, terminal, self.shown)

    def test_the_shell_ends_with_its_status(self):
        self.assertEqual((self.guest.outcome, self.guest.exit_status, self.guest.powered_off),
                         (Outcome.EXITED, 9, True), self.shown)


def _environment(home: str, path: str = "/bin:/sbin:/usr/bin:/usr/sbin") -> dict[str, str]:
    return {"PATH": path, "HOME": home, "PS1": _PROMPT.decode(), "TERM": "linux", "LC_ALL": "C"}


def _comparable(terminal: bytes) -> list[bytes]:
    """The lines of the part that both went through."""
    end = terminal.find(b"the-same-so-far\r\n")
    return terminal[:end].split(b"\n")


if __name__ == "__main__":
    # By hand: what Linux shows.
    Path("/dev/stdout").write_bytes(converse(
        [_BUSYBOX, "sh", "-i"], _ON_LINUX, _environment("/tmp"), "/tmp", _WINDOW, 60)[0])
