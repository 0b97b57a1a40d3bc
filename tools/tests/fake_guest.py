"""Plays the guest's end of the channel, for tests of the host's end without a kernel.

As a program it plays QEMU as well: `tools.qemu` starts it, and it finds its sockets in the same
arguments that QEMU does. HOLSTEIN_FAKE_GUEST names the scene, a method of `Scenes`.
"""

import json
import os
import re
import socket
import sys
import time

from tools import protocol
from tools.protocol import FrameType, Stream


class FakeGuest:
    """Keeps the protocol's rules, and checks that the host does."""

    def __init__(self, channel: socket.socket) -> None:
        self.socket = channel
        self.room = {stream: protocol.WINDOW_BYTES for stream in Stream}
        self.stdin = bytearray()
        self.stdin_unacknowledged = 0
        self.stdin_ended = False
        self.broken: set[Stream] = set()
        self.windows: list[tuple[int, int]] = []
        self.greeted = False
        self._decoder = protocol.Decoder()

    def hello(self) -> None:
        self.send(protocol.encode_u32(FrameType.HELLO, protocol.VERSION))

    def send(self, frame: bytes) -> None:
        self.socket.sendall(frame)

    def receive(self) -> bool:
        """Takes what the host sent; False where the host is gone.

        A host that closes its end with something of ours unread resets the connection: to the
        guest that is the same end. What needs more to come calls `receive_more`.
        """
        try:
            data = self.socket.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        for frame_type, stream, payload in self._decoder.feed(data):
            if frame_type is FrameType.HELLO:
                assert protocol.u32(payload) == protocol.VERSION and not self.greeted
                self.greeted = True
            elif frame_type is FrameType.DATA:
                assert stream is Stream.STDIN and not self.stdin_ended
                self.stdin += payload
                self.stdin_unacknowledged += len(payload)
                assert self.stdin_unacknowledged <= protocol.WINDOW_BYTES, "window overrun"
            elif frame_type is FrameType.END_OF_FILE:
                assert stream is Stream.STDIN
                self.stdin_ended = True
            elif frame_type is FrameType.CREDIT:
                self.room[stream] += protocol.u32(payload)
                assert self.room[stream] <= protocol.WINDOW_BYTES, "credit that was never spent"
            elif frame_type is FrameType.WINDOW_SIZE:
                self.windows.append(protocol.window_size(payload))
            elif frame_type is FrameType.BROKEN_PIPE:
                self.broken.add(stream)
            else:
                raise AssertionError(f"the host sent {frame_type.name}")
        return bool(data)

    def receive_more(self) -> None:
        """Takes what the host sent, where the scene cannot go on without it."""
        if not self.receive():
            raise ConnectionResetError("the host left while the guest waited for it")

    def take_stdin(self, count: int | None = None) -> bytes:
        """Consumes what has arrived and gives credit for it."""
        taken = bytes(self.stdin[:count])
        del self.stdin[:len(taken)]
        self.stdin_unacknowledged -= len(taken)
        if taken:
            self.send(protocol.encode_u32(FrameType.CREDIT, len(taken), Stream.STDIN))
        return taken

    def write(self, stream: Stream, data: bytes) -> bool:
        """Sends all, within the window; False where the stream broke on the way."""
        view = memoryview(data)
        while view:
            if stream in self.broken:
                return False
            count = min(len(view), self.room[stream], protocol.MAX_PAYLOAD_BYTES)
            if count == 0:
                if not self.receive():
                    return False
                continue
            self.room[stream] -= count
            self.send(protocol.encode(FrameType.DATA, stream, bytes(view[:count])))
            view = view[count:]
        return True

    def end(self, wait_status: int) -> None:
        self.send(protocol.encode_u32(FrameType.EXIT_STATUS, wait_status))


class Scenes:
    """What the machine does; a number that a scene returns is QEMU's exit status."""

    def __init__(self, guest: FakeGuest, log: socket.socket, serial: socket.socket,
                 monitor: socket.socket) -> None:
        self.guest, self.log, self.serial, self.monitor = guest, log, serial, monitor

    def cat(self):
        self.guest.hello()
        while not self.guest.stdin_ended or self.guest.stdin:
            if not self.guest.stdin:
                self.guest.receive_more()
            data = self.guest.take_stdin()
            if not self.guest.write(Stream.STDOUT, data):
                self.guest.end(13)
                return
        self.guest.end(0)

    def yes(self):
        self.guest.hello()
        while self.guest.write(Stream.STDOUT, b"y\n" * 16384):
            pass
        self.guest.end(13)  # SIGPIPE

    def both(self):
        self.guest.hello()
        for number in range(100):
            self.guest.write(Stream.STDOUT, b"out %d\n" % number)
            self.guest.write(Stream.STDERR, b"err %d\n" % number)
        self.guest.end(7 << 8)

    def segfault(self):
        self.guest.hello()
        self.guest.end(11 | 0x80)

    def echo_keys(self):
        """A terminal program: shows each key's number; q ends it, r resets the machine."""
        self.guest.hello()
        self.guest.write(Stream.TERMINAL, b"ready\r\n")
        shown = 0
        while True:
            if not self.guest.receive():
                return 0
            for rows, columns in self.guest.windows[shown:]:
                self.guest.write(Stream.TERMINAL, b"size %d %d\r\n" % (rows, columns))
            shown = len(self.guest.windows)
            for key in self.guest.take_stdin():
                if key == ord("q"):
                    self.guest.end(0)
                    return 0
                if key == ord("p"):
                    return self.panic_now()
                self.guest.write(Stream.TERMINAL, b"key %d\r\n" % key)

    def panic(self):
        self.guest.hello()
        self.guest.write(Stream.STDOUT, b"before\n")
        return self.panic_now()

    def panic_now(self):
        self.log.sendall(b"[    0.1] all is well\n=== KERNEL PANIC ===\nbad thing\n"
                         b"  #0 0xffffffff90001000 (link 0xffffffff80001000)\n"
                         b"=== END PANIC ===\n")
        return 3

    def loader(self):
        self.serial.sendall(b"\x1b[2J\x1b[01;01Hholstein loader: kernel.elf is missing\r\n")
        return 5

    def reset(self):
        self.guest.hello()
        self.monitor.sendall(json.dumps({"event": "SHUTDOWN", "data": {
            "guest": True, "reason": "guest-reset"}}).encode() + b"\r\n")
        return 0

    def hang(self):
        self.guest.hello()
        self.guest.write(Stream.STDOUT, b"partial")
        time.sleep(1000)

    def silent(self):
        time.sleep(1000)

    def garbage(self):
        self.guest.send(b"\xff" * 100)
        time.sleep(1000)

    def not_found(self):
        self.guest.hello()
        self.guest.send(protocol.encode(FrameType.STATUS_ERROR, 0,
                                        (2).to_bytes(4, "little") + b"no such program"))

    def no_power_off(self):
        self.guest.hello()
        self.guest.end(0)
        time.sleep(1000)

    def die(self):
        sys.stderr.write("fake: could not open the moon\n")
        return 1

    def speak(self):
        """Says what is in the file that HOLSTEIN_FAKE_LINUX names, on the serial port, where it is
        to play Linux, else what is in HOLSTEIN_FAKE_HOLSTEIN, as a program that ends with 1."""
        if "-kernel" in sys.argv:
            with open(os.environ["HOLSTEIN_FAKE_LINUX"], "rb") as file:
                self.serial.sendall(file.read())
            return
        self.guest.hello()
        with open(os.environ["HOLSTEIN_FAKE_HOLSTEIN"], "rb") as file:
            self.guest.write(Stream.STDOUT, file.read())
        self.guest.end(1 << 8)

    def log_lines(self):
        self.guest.hello()
        self.log.sendall(b"".join(b"log line %d\n" % number for number in range(1000)))
        self.guest.write(Stream.STDERR, b"the program's own\n")
        self.guest.end(0)


def main() -> int:
    text = " ".join(sys.argv)

    def end_of(name: str) -> socket.socket:
        return socket.socket(fileno=int(re.search(rf"socket,id={name},fd=(\d+)", text)[1]))

    guest = FakeGuest(end_of("channel"))
    scenes = Scenes(guest, end_of("log"), end_of("serial"), end_of("monitor"))
    try:
        return getattr(scenes, os.environ["HOLSTEIN_FAKE_GUEST"])() or 0
    except (BrokenPipeError, ConnectionResetError):
        return 0


if __name__ == "__main__":
    sys.exit(main())
