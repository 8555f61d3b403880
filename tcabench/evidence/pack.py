"""The sealed bundle: a zip with one spelling, and a reader that accepts no other.

The members are stored, not compressed (the tables inside already are), in a fixed order, with fixed dates and no
extra fields, so the same members always give the same bytes. The reader rebuilds the archive from what it read and
compares: nothing can hide before, between or after the members, in headers, comments or a second directory, and
nothing expands. Written out here, rather than with `zipfile`, because a future version of that could lay out the
same members differently and an old bundle would no longer be what it was. Format: PKWARE APPNOTE 6.3.10, 4.3 and 4.4.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from zlib import crc32

from tcabench.errors import NotVerified
from tcabench.evidence import merkle
from tcabench.evidence.canonical import canonical, read_canonical

MANIFEST = "manifest.json"
SCHEMA = "tcabench/manifest/v1"
MAX_PACK_BYTES = 512_000_000
MAX_MEMBERS = 64
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)?\.(json|jsonl|parquet|yaml|pdf)")
MEDIA_TYPES = {
    "json": "application/json",
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
    "yaml": "application/yaml",
    "pdf": "application/pdf",
}
LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
NEEDS, STORED, NO_FLAGS, MIDNIGHT, FIRST_DAY = 10, 0, 0, 0, 0x21  # version 1.0; 1980-01-01 00:00
MADE_BY_UNIX, FILE_0644 = 3 << 8 | 10, 0o100644 << 16


@dataclass(frozen=True, slots=True)
class Pack:
    """A bundle whose members agree with its manifest. `merkle_root` is hex."""

    members: Mapping[str, bytes]
    run_id: str
    merkle_root: str


def build_pack(run_id: str, members: Mapping[str, bytes]) -> tuple[bytes, str]:
    """The bundle holding `members` and a manifest of them, and its Merkle root in hex.

    raises: ValueError for a name or a size that the reader would refuse.
    """
    for name in members:
        if not NAME.fullmatch(name) or name == MANIFEST:
            raise ValueError(f"{name!r} cannot be the name of a bundle member")
    manifest = manifest_of(run_id, members)
    data = zip_bytes({MANIFEST: canonical(manifest), **members})
    if len(data) > MAX_PACK_BYTES or len(members) >= MAX_MEMBERS:
        raise ValueError(f"{len(members)} members of {len(data)} bytes are more than a bundle holds")
    return data, manifest["merkle_root"]


def open_pack(data: bytes) -> Pack:
    """The bundle in `data`, with every digest of its manifest checked. raises: NotVerified."""
    return check_manifest(unpack(data))


def manifest_of(run_id: str, members: Mapping[str, bytes]) -> dict[str, Any]:
    """What `manifest.json` says of `members`. The leaves of the tree are the canonical entries, by name."""
    files = [_entry(name, members[name]) for name in sorted(members)]
    root = merkle.root([canonical(entry) for entry in files]).hex()
    return {"schema": SCHEMA, "run_id": run_id, "files": files, "merkle_root": root}


def check_manifest(members: Mapping[str, bytes]) -> Pack:
    """The members, which must be exactly those of the manifest. raises: NotVerified naming the first that differs."""
    if MANIFEST not in members:
        raise NotVerified(f"the bundle has no {MANIFEST}", kind="manifest")
    manifest = read_canonical(members[MANIFEST], MANIFEST)
    files = {name: content for name, content in members.items() if name != MANIFEST}
    run_id = manifest.get("run_id") if isinstance(manifest, dict) else None
    expected = manifest_of(str(run_id), files)
    if manifest != expected:
        raise NotVerified(f"{MANIFEST}: {_first_difference(manifest, expected)}", kind="digest")
    return Pack(files, str(run_id), expected["merkle_root"])


def zip_bytes(members: Mapping[str, bytes]) -> bytes:
    """The one archive of `members`: the manifest first, then by name."""
    order = sorted(members, key=lambda name: (name != MANIFEST, name))
    body, directory = bytearray(), bytearray()
    for name in order:
        content, path = members[name], name.encode("ascii")
        about = (NO_FLAGS, STORED, MIDNIGHT, FIRST_DAY, crc32(content), len(content), len(content), len(path), 0)
        directory += CENTRAL.pack(b"PK\x01\x02", MADE_BY_UNIX, NEEDS, *about, 0, 0, 0, FILE_0644, len(body)) + path
        body += LOCAL.pack(b"PK\x03\x04", NEEDS, *about) + path + content
    end = END.pack(b"PK\x05\x06", 0, 0, len(order), len(order), len(directory), len(body), 0)
    return bytes(body + directory + end)


def unpack(data: bytes) -> dict[str, bytes]:
    """Every member by name. raises: NotVerified unless `data` is exactly the archive `zip_bytes` makes of them."""
    if len(data) > MAX_PACK_BYTES:
        raise _refused(f"{len(data)} bytes; at most {MAX_PACK_BYTES} are read")
    members: dict[str, bytes] = {}
    at = 0
    while data[at : at + 4] == b"PK\x03\x04":
        name, content, at = _member(data, at)
        if name in members or len(members) >= MAX_MEMBERS:
            raise _refused(f"member {name!r} is there twice, or there are more than {MAX_MEMBERS}")
        members[name] = content
    if not members or zip_bytes(members) != data:
        raise _refused("its bytes are not those of a bundle with these members")
    return members


def _member(data: bytes, at: int) -> tuple[str, bytes, int]:
    """Name, content and end of the member whose local header starts at `at`."""
    if at + LOCAL.size > len(data):
        raise _refused("it ends within a header")
    _, _, _, method, _, _, _, packed, size, name_length, extra = LOCAL.unpack_from(data, at)
    start = at + LOCAL.size + name_length
    name = data[at + LOCAL.size : start].decode("ascii", "replace")
    if not NAME.fullmatch(name):
        raise _refused(f"{name[:80]!r} cannot be the name of a member")
    if method != STORED or packed != size or extra:
        raise _refused(f"{name} is compressed or carries extra fields; bundles store their members as they are")
    if start + size > len(data):
        raise _refused(f"{name} ends beyond the file")
    return name, data[start : start + size], start + size


def _entry(name: str, content: bytes) -> dict[str, Any]:
    media_type = MEDIA_TYPES[name.rpartition(".")[2]]
    return {"name": name, "sha256": sha256(content).hexdigest(), "size": len(content), "media_type": media_type}


def _first_difference(manifest: Any, expected: Mapping[str, Any]) -> str:
    """Which file is not the one the manifest lists, in words."""
    listed = manifest.get("files") if isinstance(manifest, dict) else None
    for entry in expected["files"]:
        if not isinstance(listed, list) or entry not in listed:
            return f"{entry['name']} is not the file it lists"
    return "it does not list exactly the members of the bundle and their Merkle root"


def _refused(why: str) -> NotVerified:
    return NotVerified(f"not a tcabench bundle: {why}", kind="container")
