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
