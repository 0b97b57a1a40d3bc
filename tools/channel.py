"""The host's end of the channel: moves a program's streams between descriptors and the guest.

Invariants, kept by HostChannel and checked where frames arrive:
  C1. Of each stream at most WINDOW_BYTES are unacknowledged. The host gives credit for output only
      once the bytes are written (or thrown away because nobody reads), so memory here is bounded.
  C2. A stream whose other end does not move never holds up another stream: no call here blocks,
      and the frames to the guest that wait for the socket are bounded.
  C3. After the guest's last frame (EXIT_STATUS or STATUS_ERROR) nothing more is accepted.
"""

import dataclasses
import socket

from tools import protocol
from tools.event_loop import READ, WRITE, EventLoop
from tools.protocol import FrameType, ProtocolError, Stream
from tools.streams import BytesSource, CaptureSink, FdSink, FdSource

_RECEIVE_BYTES = 256 * 1024
# Standard input is not read while this much waits for the socket already.
_OUTBOX_BYTES = 128 * 1024
# A guest that sends but never takes what we answer is not listened to beyond this.
_OUTBOX_LIMIT_BYTES = 1 << 20
# Credit is given back in pieces of this size, or at once when a sink has nothing left.
_CREDIT_BYTES = 32 * 1024

Source = BytesSource | FdSource
Sink = CaptureSink | FdSink


@dataclasses.dataclass
class _Output:
    sink: Sink
    room_bytes: int = protocol.WINDOW_BYTES  # that the guest may still send
    owed_bytes: int = 0  # passed on, but not yet credited
    is_finished: bool = False


@dataclasses.dataclass(frozen=True)
class StartError:
    """The guest could not start the program."""
    errno: int
    text: str


class HostChannel:
    """Attach it to a loop, run the loop, and look at `wait_status` and `start_error`.

    `on_hello` is called once the guest has answered. A ProtocolError leaves `run_once` of the loop.
    """

    def __init__(self, loop: EventLoop, channel: socket.socket, source: Source | None,
                 sinks: dict[Stream, Sink], on_hello=lambda: None) -> None:
        self.greeted = False
        self.closed = False  # the guest's side of the socket is gone
        self.wait_status: int | None = None
        self.start_error: StartError | None = None
        self._loop = loop
        self._socket = channel
        self._socket.setblocking(False)
        self._on_hello = on_hello
        self._decoder = protocol.Decoder()
        self._outbox = bytearray()
        self._can_send = True
        self._source = source
        self._stdin_room_bytes = protocol.WINDOW_BYTES
        self._outputs = {stream: _Output(sink) for stream, sink in sinks.items()}
        for stream, output in self._outputs.items():
            output.sink.start(loop, lambda count, s=stream: self._on_written(s, count),
                              lambda s=stream: self._on_broken(s))
        self._send(protocol.encode_u32(FrameType.HELLO, protocol.VERSION))
        if source is None:
            self._send(protocol.encode(FrameType.END_OF_FILE, Stream.STDIN))
        else:
            source.start(loop, self._stdin_wanted, self._on_stdin)
            source.resume()
        self._watch_socket()

    @property
    def ended(self) -> bool:
        """True once the guest has said how the program ended."""
        return self.wait_status is not None or self.start_error is not None

    @property
    def drained(self) -> bool:
        """True once everything that the program wrote is where it belongs."""
        return all(output.sink.pending_bytes == 0 for output in self._outputs.values())

    def send_window_size(self, rows: int, columns: int) -> None:
        self._send(protocol.encode_window_size(rows, columns))

    def stop_input(self) -> None:
        """Reads no more standard input; what was read stays on its way."""
        if self._source is not None:
            source, self._source = self._source, None
            source.stop()

    # Towards the guest.

    def _send(self, frame: bytes) -> None:
        if self._can_send and not self.closed and not self.ended:
            self._outbox += frame
            self._watch_socket()

    def _stdin_wanted(self) -> int:
        if self.ended or self.closed or not self._can_send or len(self._outbox) >= _OUTBOX_BYTES:
            return 0
        return self._stdin_room_bytes

    def _on_stdin(self, data: bytes) -> None:
        if not data:
            self._source = None
            self._send(protocol.encode(FrameType.END_OF_FILE, Stream.STDIN))
            return
        self._stdin_room_bytes -= len(data)
        for start in range(0, len(data), protocol.MAX_PAYLOAD_BYTES):
            piece = data[start:start + protocol.MAX_PAYLOAD_BYTES]
            self._send(protocol.encode(FrameType.DATA, Stream.STDIN, piece))
        if isinstance(self._source, FdSource):
            self._source.resume()  # the others ask again by themselves

    def _flush_outbox(self) -> None:
        try:
            with memoryview(self._outbox) as view:
                count = self._socket.send(view)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            # The guest takes nothing any more; what it has sent is still to be read.
            self._can_send = False
            self._outbox.clear()
            return
        del self._outbox[:count]
        if self._source is not None:
            self._source.resume()

    # From the guest.

    def _watch_socket(self) -> None:
        if not self.closed:
            listens = len(self._outbox) < _OUTBOX_LIMIT_BYTES
            self._loop.watch(self._socket.fileno(),
                             (READ if listens else 0) | (WRITE if self._outbox else 0),
                             self._on_socket)

    def _on_socket(self, events: int) -> None:
        if events & WRITE and self._outbox and not self.closed:
            self._flush_outbox()
        if events & READ and not self.closed:
            self._receive()
        self._watch_socket()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._on_closed()
            return
        for frame_type, stream, payload in self._decoder.feed(data):
            self._on_frame(frame_type, stream, payload)

    def _on_closed(self) -> None:
        self.closed = True
        self._loop.watch(self._socket.fileno(), 0, self._on_socket)
        self._outbox.clear()

    def _on_frame(self, frame_type: FrameType, stream: Stream, payload: bytes) -> None:
        if self.ended:
            raise ProtocolError(f"{frame_type.name} frame after the last one")
        if frame_type is FrameType.HELLO:
            version = protocol.u32(payload)
            if self.greeted or version != protocol.VERSION:
                raise ProtocolError(f"greeting of version {version}, wanted {protocol.VERSION} once")
            self.greeted = True
            self._on_hello()
            return
        if not self.greeted:
            raise ProtocolError(f"{frame_type.name} frame before the greeting")
        match frame_type:
            case FrameType.DATA:
                self._on_data(stream, payload)
            case FrameType.END_OF_FILE:
                if stream is Stream.STDIN:
                    self.stop_input()
                else:
                    self._output(stream, frame_type).is_finished = True
                    self._outputs[stream].sink.finish()
            case FrameType.CREDIT:
                self._on_credit(stream, protocol.u32(payload))
            case FrameType.EXIT_STATUS:
                self.wait_status = protocol.u32(payload)
                self.stop_input()
            case FrameType.STATUS_ERROR:
                self.start_error = StartError(protocol.u32(payload),
                                              payload[4:].decode("utf-8", "replace"))
                self.stop_input()
            case _:
                raise ProtocolError(f"{frame_type.name} frames do not come from a guest")

    def _output(self, stream: Stream, frame_type: FrameType) -> _Output:
        output = self._outputs.get(stream)
        if output is None:
            raise ProtocolError(f"{frame_type.name} frame on {stream.name}, which is not in use")
        return output

    def _on_data(self, stream: Stream, payload: bytes) -> None:
        output = self._output(stream, FrameType.DATA)
        if output.is_finished:
            raise ProtocolError(f"DATA frame on {stream.name} after its end")
        if len(payload) > output.room_bytes:
            raise ProtocolError(
                f"{len(payload)} bytes on {stream.name}, room for {output.room_bytes}")
        output.room_bytes -= len(payload)
        output.sink.write(payload)

    def _on_credit(self, stream: Stream, count: int) -> None:
        if stream is not Stream.STDIN:
            raise ProtocolError(f"CREDIT frame on {stream.name}")
        if self._stdin_room_bytes + count > protocol.WINDOW_BYTES:
            raise ProtocolError(f"credit of {count} bytes for standard input was never spent")
        self._stdin_room_bytes += count
        if self._source is not None:
            self._source.resume()

    # From the sinks.

    def _on_written(self, stream: Stream, count: int) -> None:
        output = self._outputs[stream]
        output.owed_bytes += count
        if output.owed_bytes >= _CREDIT_BYTES or output.sink.pending_bytes == 0:
            owed, output.owed_bytes = output.owed_bytes, 0
            if owed:
                output.room_bytes += owed
                self._send(protocol.encode_u32(FrameType.CREDIT, owed, stream))

    def _on_broken(self, stream: Stream) -> None:
        self._send(protocol.encode(FrameType.BROKEN_PIPE, stream))

    def close(self) -> None:
        """Frees what the sinks opened, and the socket."""
        if not self.closed:
            self._on_closed()
        for output in self._outputs.values():
            output.sink.close()
        self._socket.close()
