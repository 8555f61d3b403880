"""Who signs: a key file by default; other signers join through the entry points `tcabench.signers`."""

from typing import Protocol

from tcabench.registry import Registry

SIGNERS = Registry("signer", "tcabench.signers", {"file": "tcabench.evidence.signers.file_key:open_file_key"})


class Signer(Protocol):
    """Something that signs. `keyid` is the hex sha256 of `public_key`, which is an SPKI in DER."""

    @property
    def keyid(self) -> str: ...

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes:
        """The signature over `message`: 64 bytes for Ed25519."""
        ...


__all__ = ["SIGNERS", "Signer"]
