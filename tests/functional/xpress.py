"""A second decoder of HTTP `Content-Encoding: xpress` (MS-WUSP 2.1.1, MS-XCA 2.4)."""
import struct


def decode_block(data, size):
    out, p, flags, left, half = bytearray(), 0, 0, 0, None
    while True:
        if left == 0:
            flags, left, p = struct.unpack_from("<I", data, p)[0], 32, p + 4
        left -= 1
        if not flags >> left & 1:
            out.append(data[p])
            p += 1
            continue
        if p == len(data):
            break
        word = struct.unpack_from("<H", data, p)[0]
        p += 2
        length, distance = word & 7, (word >> 3) + 1
        if length == 7:
            if half is None:
                half, length, p = p, data[p] & 15, p + 1
            else:
                half, length = None, data[half] >> 4
            if length == 15:
                length, p = data[p], p + 1
                if length == 255:
                    length, p = struct.unpack_from("<H", data, p)[0] - 22, p + 2
                length += 15
            length += 7
        for _ in range(length + 3):
            out.append(out[len(out) - distance])
    assert len(out) == size, (len(out), size)
    return bytes(out)


def decode(body):
    out, p = bytearray(), 0
    while p < len(body):
        size, stored = struct.unpack_from("<ii", body, p)
        assert 0 < stored <= size <= 65535, (size, stored)
        block = body[p + 8:p + 8 + stored]
        assert len(block) == stored, "cut block"
        out += block if stored == size else decode_block(block, size)
        p += 8 + stored
    return bytes(out)


BLOCK = 16352  # where the observed server cut


class Writer:
    """Flags and payload of one block being encoded."""

    def __init__(self):
        self.out, self.flags, self.left, self.at, self.half = bytearray(4), 0, 32, 0, None

    def flag(self, bit):
        if self.left == 0:
            struct.pack_into("<I", self.out, self.at, self.flags)
            self.at, self.flags, self.left = len(self.out), 0, 32
            self.out += b"\0" * 4
        self.left -= 1
        self.flags |= bit << self.left

    def match(self, distance, length):
        short = min(length - 3, 7)
        self.out += struct.pack("<H", distance - 1 << 3 | short)
        if short < 7:
            return
        nibble = min(length - 10, 15)
        if self.half is None:
            self.half = len(self.out)
            self.out.append(nibble)
        else:
            self.out[self.half] |= nibble << 4
            self.half = None
        if nibble == 15:
            if length - 25 < 255:
                self.out.append(length - 25)
            else:
                self.out += b"\xff" + struct.pack("<H", length - 3)

    def finish(self):
        if self.left == 0:
            self.flag(1)
        struct.pack_into("<I", self.out, self.at, self.flags | (1 << self.left) - 1)
        return bytes(self.out)


def encode_block(data):
    writer, seen, p, end = Writer(), {}, 0, len(data)
    while p < end:
        key = data[p:p + 3]
        before = seen.get(key) if len(key) == 3 else None
        seen[key] = p
        if before is None or p - before > 8192:
            writer.flag(0)
            writer.out.append(data[p])
            p += 1
            continue
        length = 3
        while p + length < end and data[before + length] == data[p + length]:
            length += 1
        writer.flag(1)
        writer.match(p - before, length)
        p += length
    return writer.finish()


def encode(body):
    """Blocks as the observed server writes them; one that does not shrink is stored."""
    out = bytearray()
    for start in range(0, len(body), BLOCK):
        block = body[start:start + BLOCK]
        packed = encode_block(block)
        if len(packed) >= len(block):
            packed = block
        out += struct.pack("<ii", len(block), len(packed)) + packed
    return bytes(out)
