"""Opens the sealed files of a bundle, written from docs/format.md ("Sealed bundles") alone.

Needs the Python package cryptography (Debian: python3-cryptography) beside the standard library.
"""
import base64
import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = b"gapferry-seal/1\n"
BLOCK, TAG, HEADER = 64 * 1024, 16, 32


class Closed(ValueError):
    """Cannot be opened: another key, or not what was sealed."""


def derive(secret, salt, info):
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info).derive(secret)


def load_key(path):
    """The private key in a PEM file, and its key id."""
    with open(path, "rb") as file:
        key = serialization.load_pem_private_key(file.read(), password=None)
    if not isinstance(key, X25519PrivateKey):
        raise Closed(f"{path}: no X25519 key")
    return key, hashlib.sha256(public_bytes(key)).hexdigest()[:32]


def public_bytes(key):
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def bundle_key(manifest, key, key_id):
    """The key of the bundle from the recipient's line that names `key_id`."""
    for recipient in manifest["recipients"]:
        if recipient["key_id"] != key_id:
            continue
        wrapped = base64.b64decode(recipient["sealed_key"], validate=True)
        if len(wrapped) != 80:
            raise Closed("sealed_key: size")
        ephemeral, sealed = wrapped[:32], wrapped[32:]
        agreed = key.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        wrapping = derive(agreed, ephemeral + public_bytes(key), b"gapferry-seal/1 recipient")
        try:
            return AESGCM(wrapping).decrypt(bytes(12), sealed, None)
        except InvalidTag as error:
            raise Closed("sealed_key: not for this key") from error
    raise Closed(f"sealed for {[r['key_id'] for r in manifest['recipients']]}, not for {key_id}")


def pieces(stored, name, key):
    """The text of a sealed file, chunk by chunk. `stored` is a binary file; `name` is the plain
    name."""
    header = stored.read(HEADER)
    if len(header) != HEADER or not header.startswith(MAGIC):
        raise Closed(f"{name}.sealed: header")
    cipher = AESGCM(derive(key, header[len(MAGIC):], b"gapferry-seal/1 file " + name.encode()))
    chunk, number = stored.read(BLOCK - HEADER), 0
    while True:
        following = stored.read(BLOCK)
        nonce = bytes(3) + number.to_bytes(8, "big") + (b"\0" if following else b"\1")
        try:
            yield cipher.decrypt(nonce, chunk, None)
        except (InvalidTag, ValueError) as error:
            raise Closed(f"{name}.sealed: block {number} is not what was sealed") from error
        if not following:
            return
        chunk, number = following, number + 1

