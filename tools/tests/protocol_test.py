"""Do both sides speak the same protocol, and is nothing accepted that it does not allow?"""

import random
import re
import unittest
from pathlib import Path

from tools import protocol
from tools.protocol import Decoder, FrameType, ProtocolError, Stream

_HEADER = Path(__file__).parent.parent.parent / "lib" / "channel_protocol.h"


def _camel(name: str) -> str:
    return "k" + "".join(word.capitalize() for word in name.split("_"))


class HeaderTest(unittest.TestCase):
    def setUp(self):
        self.text = _HEADER.read_text()

    def _enum(self, name: str) -> dict[str, int]:
        body = re.search(rf"enum class {name} : uint8_t {{(.*?)}};", self.text, re.S)[1]
        return {key: int(value) for key, value in re.findall(r"(k\w+) = (\d+)", body)}

    def test_enumerations_are_the_header_s(self):
        self.assertEqual(self._enum("ChannelStream"), {_camel(s.name): s.value for s in Stream})
        self.assertEqual(self._enum("ChannelFrameType"),
                         {_camel(f.name): f.value for f in FrameType})

    def test_constants_are_the_header_s(self):
        for name, value in (("kChannelVersion", protocol.VERSION),
                            ("kChannelWindowBytes", protocol.WINDOW_BYTES),
                            ("kChannelMaxPayloadBytes", protocol.MAX_PAYLOAD_BYTES)):
            expression = re.search(rf"{name} = ([\d *]+);", self.text)[1]
            product = 1
            for factor in expression.split("*"):
                product *= int(factor)
            self.assertEqual(product, value, name)


class DecoderTest(unittest.TestCase):
    def test_frames_survive_any_way_of_cutting_the_stream(self):
        generator = random.Random(1)
        frames = [(FrameType.DATA, Stream(generator.randrange(4)),
                   generator.randbytes(generator.choice((1, 2, 100, protocol.MAX_PAYLOAD_BYTES))))
                  for _ in range(50)]
        frames.append((FrameType.END_OF_FILE, Stream.STDIN, b""))
        stream = b"".join(protocol.encode(*frame) for frame in frames)
        for largest in (1, 7, 8, 9, 5000, 1 << 20):
            decoder, decoded, position = Decoder(), [], 0
            while position < len(stream):
                size = generator.randint(1, largest) if largest < 1000 else largest
                decoded += decoder.feed(stream[position:position + size])
                position += size
            self.assertEqual(decoded, frames)
            self.assertFalse(decoder.mid_frame)

    def test_half_a_frame_is_noticed(self):
        decoder = Decoder()
        self.assertEqual(list(decoder.feed(b"\x02\x01\0\0")), [])
        self.assertTrue(decoder.mid_frame)

    def test_what_is_not_allowed_raises(self):
        header = protocol._HEADER.pack
        for name, data in {
                "type 0": header(0, 0, 0, 0),
                "unknown type": header(99, 0, 0, 0),
                "unknown stream": header(2, 4, 0, 1),
                "reserved bits": header(3, 0, 1, 0),
                "too much data": header(2, 1, 0, protocol.MAX_PAYLOAD_BYTES + 1),
                "4 GiB of data": header(2, 1, 0, 0xFFFFFFFF),
                "no data": header(2, 1, 0, 0),
                "a short credit": header(4, 1, 0, 3),
                "a long status": header(6, 0, 0, 5),
                "an end with a payload": header(3, 0, 0, 1),
        }.items():
            with self.subTest(name), self.assertRaises(ProtocolError):
                list(Decoder().feed(data))

    def test_frames_before_a_bad_one_are_delivered(self):
        good = protocol.encode(FrameType.DATA, Stream.STDOUT, b"x")
        seen = []
        with self.assertRaises(ProtocolError):
            for frame in Decoder().feed(good + b"\xff" * 8):
                seen.append(frame)
        self.assertEqual(seen, [(FrameType.DATA, Stream.STDOUT, b"x")])

    def test_encode_refuses_what_decode_would(self):
        with self.assertRaises(ValueError):
            protocol.encode(FrameType.DATA, Stream.STDOUT, b"")
        with self.assertRaises(ValueError):
            protocol.encode(FrameType.DATA, Stream.STDOUT, b"x" * (protocol.MAX_PAYLOAD_BYTES + 1))


if __name__ == "__main__":
    unittest.main()
