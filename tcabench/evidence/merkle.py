"""The hash tree of RFC 6962, section 2.1: one digest for a list, from which any item can later be shown alone."""

from collections.abc import Sequence
from hashlib import sha256


def root(leaves: Sequence[bytes]) -> bytes:
    """The 32-byte tree head over `leaves`, in their order; sha256 of nothing for an empty list."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1  # the largest power of two below the length
    return sha256(b"\x01" + root(leaves[:split]) + root(leaves[split:])).digest()
