"""Writes cabinets of one member, the way they carry metadata: `MSCF`, one folder, a member `blob`.

    lzx_cabinet(data)       typeCompress 0x1503 as WSUS writes, in LZX blocks of the kind "uncompressed"
    mszip_cabinet(data)     typeCompress 1: deflate, each block may refer to the one before
    stored_cabinet(data)    typeCompress 0
    metadata_cabinet(text)  the LZX one of a document: UTF-16LE without byte-order mark

Each takes checksums=False (cabinets may leave them out) and size= (what the header claims instead of the
truth). cabextract and libarchive read all three, which sync_upstream.py checks where they are installed.
"""
import struct
import zlib

BLOCK = 32768


def checksum(data, seed=0):
    whole = len(data) & ~3
    value = seed
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        value ^= word
    rest = 0
    for byte in data[whole:]:
        rest = rest << 8 | byte
    return value ^ rest


def cabinet(blocks, size, kind, name="blob", checksums=True):
    """`blocks` are (compressed bytes, decoded size); `size` is the member's claimed size."""
    member = struct.pack("<IIHHHH", size & 0xFFFFFFFF, 0, 0, 0, 0, 0) + name.encode() + b"\0"
    first = 36 + 8 + len(member)
    data = bytearray()
    for packed, decoded in blocks:
        head = struct.pack("<HH", len(packed), decoded)
        data += struct.pack("<I", checksum(head, checksum(packed)) if checksums else 0) + head + packed
    header = struct.pack("<4sIIIIIBBHHHHH", b"MSCF", 0, first + len(data), 0, 44, 0, 3, 1, 1, 1, 0, 0, 0)
    folder = struct.pack("<IHH", first, len(blocks), kind)
    return bytes(header + folder + member + data)


def pieces(data):
    return [data[i:i + BLOCK] for i in range(0, len(data), BLOCK)]


def lzx_cabinet(data, size=None, **options):
    blocks = []
    for i, piece in enumerate(pieces(data)):
        # The first block begins with one bit "no E8 translation"; then 3 bits of kind, 24 of size; bits
        # are taken from 16-bit little-endian words, highest first.
        bits, count = (3 << 24 | len(piece), 27)
        if i == 0:
            count = 28
        bits <<= 32 - count
        packed = struct.pack("<HH", bits >> 16, bits & 0xFFFF) + struct.pack("<III", 1, 1, 1) + piece
        blocks.append((packed + b"\0" * (len(piece) % 2), len(piece)))
    return cabinet(blocks, len(data) if size is None else size, 0x1503, **options)


def mszip_cabinet(data, size=None, **options):
    blocks, window = [], b""
    for piece in pieces(data):
        packer = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=window) if window else \
            zlib.compressobj(6, zlib.DEFLATED, -15)
        blocks.append((b"CK" + packer.compress(piece) + packer.flush(), len(piece)))
        window = piece
    return cabinet(blocks, len(data) if size is None else size, 1, **options)


def stored_cabinet(data, size=None, **options):
    return cabinet([(p, len(p)) for p in pieces(data)], len(data) if size is None else size, 0, **options)


def metadata_cabinet(text):
    return lzx_cabinet(text.encode("utf-16-le"))


def bomb(decoded_bytes):
    """A cabinet of spaces in UTF-16 that is a thousandth of what it unpacks to."""
    piece = " ".encode("utf-16-le") * (BLOCK // 2)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"CK" + packer.compress(piece) + packer.flush()
    count = min(65535, decoded_bytes // BLOCK)
    return cabinet([(packed, BLOCK)] * count, count * BLOCK, 1, checksums=False)
