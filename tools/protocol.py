"""The host channel's frames: the Python face of lib/channel_protocol.h.

Frames are decoded from whatever sizes the socket happens to deliver and checked while they are
decoded: after a ProtocolError the stream cannot be resynchronised and the guest must be stopped.
`tools/tests/protocol_test.py` compares the numbers here with the header's.
"""

import enum
import struct
from collections.abc import Iterator

VERSION = 1
WINDOW_BYTES = 256 * 1024
MAX_PAYLOAD_BYTES = 32 * 1024

_HEADER = struct.Struct("<BBHI")
_U32 = struct.Struct("<I")
_U16_PAIR = struct.Struct("<HH")
HEADER_BYTES = _HEADER.size


class Stream(enum.IntEnum):
    STDIN = 0
    STDOUT = 1
    STDERR = 2
    TERMINAL = 3


class FrameType(enum.IntEnum):
    HELLO = 1
    DATA = 2
    END_OF_FILE = 3
    CREDIT = 4
    WINDOW_SIZE = 5
    EXIT_STATUS = 6
    BROKEN_PIPE = 7
    STATUS_ERROR = 8


# Payload sizes that a frame type allows: (least, most).
_PAYLOAD_LIMITS = {
    FrameType.HELLO: (4, 4),
    FrameType.DATA: (1, MAX_PAYLOAD_BYTES),
    FrameType.END_OF_FILE: (0, 0),
    FrameType.CREDIT: (4, 4),
    FrameType.WINDOW_SIZE: (4, 4),
    FrameType.EXIT_STATUS: (4, 4),
    FrameType.BROKEN_PIPE: (0, 0),
    FrameType.STATUS_ERROR: (4, MAX_PAYLOAD_BYTES),
}


class ProtocolError(Exception):
    """The guest sent something that the protocol does not allow."""


def encode(frame_type: FrameType, stream: int = 0, payload: bytes = b"") -> bytes:
    """One frame as bytes."""
    least, most = _PAYLOAD_LIMITS[frame_type]
    if not least <= len(payload) <= most:
        raise ValueError(f"{frame_type.name} cannot carry {len(payload)} bytes")
    return _HEADER.pack(frame_type, stream, 0, len(payload)) + payload


def encode_u32(frame_type: FrameType, value: int, stream: int = 0) -> bytes:
    return encode(frame_type, stream, _U32.pack(value))


def encode_window_size(rows: int, columns: int) -> bytes:
    return encode(FrameType.WINDOW_SIZE, 0, _U16_PAIR.pack(rows & 0xFFFF, columns & 0xFFFF))


def u32(payload: bytes | memoryview) -> int:
    return _U32.unpack_from(payload)[0]


def window_size(payload: bytes | memoryview) -> tuple[int, int]:
    """(rows, columns) of a WINDOW_SIZE payload."""
    return _U16_PAIR.unpack_from(payload)


class Decoder:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[FrameType, Stream, bytes]]:
        """Yields (type, stream, payload) for every frame that `data` completes.

        Raises ProtocolError at the first frame that is malformed. The caller must exhaust the
        iterator before it feeds more.
        """
        pending = self._pending
        pending += data
        position = 0
        try:
            while len(pending) - position >= HEADER_BYTES:
                raw_type, raw_stream, reserved, length = _HEADER.unpack_from(pending, position)
                try:
                    frame_type = FrameType(raw_type)
                    stream = Stream(raw_stream)
                except ValueError:
                    raise ProtocolError(
                        f"unknown frame: type {raw_type}, stream {raw_stream}") from None
                least, most = _PAYLOAD_LIMITS[frame_type]
                if reserved != 0 or not least <= length <= most:
                    raise ProtocolError(
                        f"malformed {frame_type.name} frame: {length} bytes, reserved {reserved}")
                start = position + HEADER_BYTES
                if len(pending) < start + length:
                    break
                position = start + length
                yield frame_type, stream, bytes(pending[start:position])
        finally:
            del pending[:position]

    @property
    def mid_frame(self) -> bool:
        """True where the stream so far ends in the middle of a frame."""
        return bool(self._pending)
