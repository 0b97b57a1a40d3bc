"""What if a stream is fast, slow, closed, endless, or its guest lies? The host's end of the channel
against a guest that is played by a thread."""

import hashlib
import os
import random
import socket
import tempfile
import threading
import time
import unittest

from tools import protocol
from tools.channel import HostChannel
from tools.event_loop import EventLoop
from tools.protocol import FrameType, ProtocolError, Stream
from tools.streams import BytesSource, CaptureSink, FdSink, FdSource
from tools.tests.fake_guest import FakeGuest

_LIMIT_SECONDS = 30


class Harness:
    """A HostChannel in a loop, and a guest in a thread."""

    def __init__(self, play, source=None, sinks=None):
        ours, theirs = socket.socketpair()
        self.loop = EventLoop()
        self.sinks = {Stream.STDOUT: CaptureSink(), Stream.STDERR: CaptureSink()} \
            if sinks is None else sinks
        self.channel = HostChannel(self.loop, ours, source, self.sinks)
        self.error: BaseException | None = None

        def body():
            try:
                play(FakeGuest(theirs))
            except BaseException as error:  # handed to the test below
                self.error = error
            finally:
                theirs.close()

        self.thread = threading.Thread(target=body)
        self.thread.start()

    def run(self, until=None):
        limit = time.monotonic() + _LIMIT_SECONDS
        until = until or (lambda: self.channel.ended and self.channel.drained)
        try:
            while not until():
                if time.monotonic() > limit:
                    raise AssertionError("the channel hangs")
                if self.channel.closed and not self.channel.ended:
                    break
                self.loop.run_once(0.1)
        finally:
            self.channel.close()
            self.thread.join()
            self.loop.close()
        if self.error is not None:
            raise self.error
        return self


def cat(guest: FakeGuest) -> None:
    guest.hello()
    while not guest.stdin_ended or guest.stdin:
        if not guest.stdin:
            guest.receive_more()
        guest.write(Stream.STDOUT, guest.take_stdin())
    guest.end(0)


def feed_pipe(data: bytes) -> int:
    """The reading end of a pipe that a thread fills and closes."""
    reader, writer = os.pipe()

    def body():
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(writer, view):]
        except BrokenPipeError:
            pass
        os.close(writer)

    threading.Thread(target=body, daemon=True).start()
    return reader


class DataTest(unittest.TestCase):
    def test_every_byte_value_and_the_end_pass_through(self):
        data = bytes(range(256)) * 300 + b"\0\r\n\x04\xff"
        harness = Harness(cat, BytesSource(data)).run()
        self.assertEqual(bytes(harness.sinks[Stream.STDOUT].data), data)
        self.assertEqual(harness.channel.wait_status, 0)

    def test_no_input_is_an_end_of_file_at_once(self):
        for source in (None, BytesSource(b""), FdSource(os.open(os.devnull, os.O_RDONLY))):
            harness = Harness(cat, source).run()
            self.assertEqual(bytes(harness.sinks[Stream.STDOUT].data), b"")

    def test_streams_are_kept_apart(self):
        def play(guest):
            guest.hello()
            for number in range(200):
                guest.write(Stream.STDOUT, b"o%d " % number)
                guest.write(Stream.STDERR, b"e%d " % number)
            guest.end(256)

        harness = Harness(play).run()
        for stream, letter in ((Stream.STDOUT, b"o"), (Stream.STDERR, b"e")):
            self.assertEqual(bytes(harness.sinks[stream].data),
                             b"".join(letter + b"%d " % number for number in range(200)))

    def test_through_pipes_both_ways_at_more_than_5_megabytes_a_second(self):
        data = random.Random(2).randbytes(1 << 20) * 32
        reader, writer = os.pipe()
        digest = hashlib.sha256()

        def consume():
            while piece := os.read(reader, 1 << 16):
                digest.update(piece)

        consumer = threading.Thread(target=consume)
        consumer.start()
        source = feed_pipe(data)
        sink = FdSink(writer)
        began = time.monotonic()
        Harness(cat, FdSource(source), {Stream.STDOUT: sink}).run()
        seconds = time.monotonic() - began
        os.close(writer)
        consumer.join()
        self.assertEqual(digest.digest(), hashlib.sha256(data).digest())
        # The guest is Python too and shares this process: each way alone is faster still.
        self.assertGreater(len(data) / seconds, 5e6)

    def test_a_regular_file_as_input_and_output(self):
        data = random.Random(3).randbytes(3_000_000)
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
            source.write(data)
            source.flush()
            source.seek(0)
            fds = os.dup(source.fileno()), os.dup(target.fileno())
            Harness(cat, FdSource(fds[0]), {Stream.STDOUT: FdSink(fds[1])}).run()
            target.seek(0)
            self.assertEqual(target.read(), data)

    def test_a_socket_as_output(self):
        ours, theirs = socket.socketpair()
        data = os.urandom(2_000_000)
        got = bytearray()

        def consume():
            while piece := theirs.recv(1 << 16):
                got.extend(piece)

        consumer = threading.Thread(target=consume)
        consumer.start()
        Harness(cat, BytesSource(data), {Stream.STDOUT: FdSink(ours.fileno())}).run()
        ours.close()
        consumer.join()
        self.assertEqual(bytes(got), data)


class FlowControlTest(unittest.TestCase):
    def test_a_reader_that_never_reads_holds_up_nothing_else(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        done = threading.Event()

        def play(guest):
            guest.hello()
            # Fill standard output's window; nobody reads it.
            room = guest.room[Stream.STDOUT]
            for _ in range(room // protocol.MAX_PAYLOAD_BYTES):
                guest.send(protocol.encode(FrameType.DATA, Stream.STDOUT,
                                           b"x" * protocol.MAX_PAYLOAD_BYTES))
            guest.room[Stream.STDOUT] = 0
            guest.write(Stream.STDERR, b"e" * 2_000_000)
            while not guest.stdin_ended or guest.stdin:
                if not guest.stdin:
                    guest.receive_more()
                guest.take_stdin()
            done.set()
            guest.receive()

        stderr = CaptureSink()
        harness = Harness(play, BytesSource(b"i" * 2_000_000),
                          {Stream.STDOUT: FdSink(writer), Stream.STDERR: stderr})
        harness.run(until=done.is_set)
        os.close(writer)
        self.assertEqual(len(stderr.data), 2_000_000)

    def test_a_program_that_never_reads_is_sent_one_window_and_no_more(self):
        received = []

        def play(guest):
            guest.hello()
            guest.socket.settimeout(0.3)
            try:
                while True:
                    guest.receive_more()
            except TimeoutError:
                pass
            received.append(len(guest.stdin))
            guest.socket.settimeout(None)
            guest.end(0)

        Harness(play, BytesSource(b"z" * 5_000_000)).run()
        self.assertEqual(received, [protocol.WINDOW_BYTES])

    def test_endless_input_does_not_keep_the_end_from_being_seen(self):
        def play(guest):
            guest.hello()
            while len(guest.stdin) < 1000:
                guest.receive_more()
            guest.end(0)

        zero = os.open("/dev/zero", os.O_RDONLY)
        harness = Harness(play, FdSource(zero)).run()
        self.assertEqual(harness.channel.wait_status, 0)
        os.close(zero)


class EndTest(unittest.TestCase):
    def test_a_reader_that_leaves_breaks_the_pipe_and_only_that(self):
        reader, writer = os.pipe()

        def play(guest):
            guest.hello()
            guest.write(Stream.STDOUT, b"first\n")
            assert os.read(reader, 100) == b"first\n"
            os.close(reader)
            while guest.write(Stream.STDOUT, b"y" * 10000):
                pass
            assert guest.broken == {Stream.STDOUT}
            guest.write(Stream.STDERR, b"still here")
            guest.end(13)

        stderr = CaptureSink()
        Harness(play, None, {Stream.STDOUT: FdSink(writer), Stream.STDERR: stderr}).run()
        os.close(writer)
        self.assertEqual(bytes(stderr.data), b"still here")

    def test_a_full_disk_is_reported_and_breaks_the_pipe(self):
        def play(guest):
            guest.hello()
            while guest.write(Stream.STDOUT, b"y" * 10000):
                pass
            guest.end(13)

        errors = []
        full = os.open("/dev/full", os.O_WRONLY)
        Harness(play, None, {Stream.STDOUT: FdSink(full, errors.append)}).run()
        os.close(full)
        self.assertEqual([error.strerror for error in errors], ["No space left on device"])

    def test_a_stream_that_the_program_closes_ends_for_its_reader_at_once(self):
        reader, writer = os.pipe()
        ended = threading.Event()

        def play(guest):
            guest.hello()
            guest.write(Stream.STDOUT, b"last words")
            guest.send(protocol.encode(FrameType.END_OF_FILE, Stream.STDOUT))
            assert os.read(reader, 100) == b"last words"
            assert os.read(reader, 100) == b""
            ended.set()
            guest.end(0)

        Harness(play, None, {Stream.STDOUT: FdSink(writer)}).run()
        self.assertTrue(ended.is_set())
        os.close(writer)
        os.close(reader)

    def test_a_program_that_closes_its_input_stops_the_writer(self):
        reader, writer = os.pipe()

        def play(guest):
            guest.hello()
            guest.send(protocol.encode(FrameType.END_OF_FILE, Stream.STDIN))
            while True:
                try:
                    os.write(writer, b"more")
                except BrokenPipeError:
                    break
                time.sleep(0.01)
            guest.end(0)

        Harness(play, FdSource(reader)).run()
        os.close(writer)
        os.close(reader)

    def test_a_slow_reader_gets_everything_after_the_program_has_ended(self):
        reader, writer = os.pipe()
        got = bytearray()

        def consume():
            time.sleep(0.3)
            while piece := os.read(reader, 4096):
                got.extend(piece)

        def play(guest):
            guest.hello()
            guest.send(b"".join(protocol.encode(FrameType.DATA, Stream.STDOUT, b"s" * 30000)
                                for _ in range(8)))
            guest.end(0)

        consumer = threading.Thread(target=consume)
        consumer.start()
        Harness(play, None, {Stream.STDOUT: FdSink(writer)}).run()
        os.close(writer)
        consumer.join()
        self.assertEqual(len(got), 240000)

    def test_the_start_error_is_handed_on(self):
        def play(guest):
            guest.hello()
            guest.send(protocol.encode(FrameType.STATUS_ERROR, 0,
                                       (8).to_bytes(4, "little") + b"bad format"))

        error = Harness(play).run().channel.start_error
        self.assertEqual((error.errno, error.text), (8, "bad format"))


class HostileTest(unittest.TestCase):
    def _assert_refused(self, *frames: bytes, greet: bool = True):
        def play(guest):
            if greet:
                guest.hello()
            guest.send(b"".join(frames))
            try:
                while guest.receive():
                    pass
            except OSError:
                pass

        harness = Harness(play)
        with self.assertRaises(ProtocolError):
            harness.run()

    def test_noise(self):
        generator = random.Random(4)
        for _ in range(20):
            noise = generator.randbytes(2000)
            self._assert_refused(noise if noise[0] > 8 else b"\xff" + noise, greet=False)

    def test_frames_that_make_no_sense(self):
        data = protocol.encode(FrameType.DATA, Stream.STDOUT, b"x")
        for name, frames in {
                "no greeting": None,
                "two greetings": [protocol.encode_u32(FrameType.HELLO, protocol.VERSION)],
                "data on standard input": [protocol.encode(FrameType.DATA, Stream.STDIN, b"x")],
                "data on an unused terminal": [
                    protocol.encode(FrameType.DATA, Stream.TERMINAL, b"x")],
                "data after the end": [
                    protocol.encode(FrameType.END_OF_FILE, Stream.STDOUT), data],
                "data after the exit status": [
                    protocol.encode_u32(FrameType.EXIT_STATUS, 0), data],
                "two exit statuses": [protocol.encode_u32(FrameType.EXIT_STATUS, 0)] * 2,
                "a window size": [protocol.encode_window_size(1, 1)],
                "a broken pipe": [protocol.encode(FrameType.BROKEN_PIPE, Stream.STDIN)],
                "credit that was not spent": [
                    protocol.encode_u32(FrameType.CREDIT, 1, Stream.STDIN)],
                "credit that overflows": [
                    protocol.encode_u32(FrameType.CREDIT, 0xFFFFFFFF, Stream.STDIN)],
                "credit for output": [protocol.encode_u32(FrameType.CREDIT, 1, Stream.STDOUT)],
        }.items():
            with self.subTest(name):
                if frames is None:
                    self._assert_refused(data, greet=False)
                else:
                    self._assert_refused(*frames)

    def test_the_wrong_version(self):
        self._assert_refused(protocol.encode_u32(FrameType.HELLO, 99), greet=False)

    def test_more_than_the_window(self):
        reader, writer = os.pipe()

        def play(guest):
            guest.hello()
            try:
                for _ in range(protocol.WINDOW_BYTES * 2 // 30000):
                    guest.send(protocol.encode(FrameType.DATA, Stream.STDOUT, b"x" * 30000))
                guest.receive()
            except OSError:
                pass

        harness = Harness(play, None, {Stream.STDOUT: FdSink(writer)})
        with self.assertRaises(ProtocolError):
            harness.run()
        os.close(reader)
        os.close(writer)

    def test_a_guest_that_sends_and_never_listens_fills_no_memory(self):
        largest = [0]

        def play(guest):
            guest.hello()
            frames = protocol.encode(FrameType.DATA, Stream.STDOUT, b"x") * 4096
            guest.socket.settimeout(0.5)
            try:
                for _ in range(400):
                    guest.send(frames)
            except TimeoutError:
                pass

        harness = Harness(play)

        def over():
            largest[0] = max(largest[0], len(harness.channel._outbox))
            return False

        harness.run(until=over)
        self.assertLess(largest[0], 3 << 20)

    def test_a_host_that_leaves_with_something_unread_is_the_end_for_the_guest(self):
        ours, theirs = socket.socketpair()
        with theirs:
            guest = FakeGuest(theirs)
            guest.hello()
            ours.close()  # the greeting is unread: the guest's next read is a reset
            self.assertFalse(guest.receive())

    def test_a_guest_that_needs_more_from_a_host_that_left_fails_its_test(self):
        zero = os.open("/dev/zero", os.O_RDONLY)
        self.addCleanup(os.close, zero)
        harness = Harness(cat, FdSource(zero))
        with self.assertRaises(ConnectionError):
            harness.run(until=lambda: len(harness.sinks[Stream.STDOUT].data) > 100_000)

    def test_a_guest_that_goes_away_is_noticed(self):
        harness = Harness(lambda guest: guest.hello()).run()
        self.assertTrue(harness.channel.closed)
        self.assertFalse(harness.channel.ended)


if __name__ == "__main__":
    unittest.main()
