"""Step 1: takes a report apart, within limits, and finds signatures, statement and evidence in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcabench.errors import NotVerified, UsageError
from tcabench.evidence.dsse import MAX_BUNDLE_BYTES, Envelope, read_bundle
from tcabench.evidence.pack import MANIFEST, MAX_PACK_BYTES, unpack
from tcabench.evidence.seal import ATTESTATION
from tcabench.evidence.slot import MAX_PAGE_BYTES, Page, split_page
from tcabench.evidence.statement import read_statement

MEMBERS = {
    MANIFEST,
    "plan.json",
    "sut.json",
    "channels.json",
    "policy.yaml",
    "events.jsonl",
    "ledger.jsonl",
    "quality.json",
    "result.json",
    "requests.parquet",
    "power.parquet",
}


@dataclass(frozen=True, slots=True)
class Container:
    """A report taken apart. `page` is None when a bundle was given by itself; `was_rewrapped`: line ends in the
    slot were changed on the way, which is a change of the page and of nothing else."""

    page: Page | None
    was_rewrapped: bool
    tcab: bytes
    envelopes: tuple[Envelope, ...]
    statement: Mapping[str, Any]
    members: Mapping[str, bytes]

    @property
    def predicate(self) -> Mapping[str, Any]:
        """What the statement says of the run."""
        predicate: Mapping[str, Any] = self.statement["predicate"]
        return predicate


def open_container(path: Path) -> Container:
    """What is in the report (or bare `.tcab`) at `path`.

    raises: UsageError when there is no such file, NotVerified when it is not what `seal` writes.
    """
    page: Page | None = None
    tcab: bytes | None
    if path.suffix == ".tcab":
        tcab = _content(path, MAX_PACK_BYTES)
        slot = bundle = _beside(path.with_name(ATTESTATION), MAX_BUNDLE_BYTES, "signatures")
    else:
        page = split_page(_content(path, MAX_PAGE_BYTES))
        slot, tcab = page.slot, page.evidence
        bundle = slot.replace(b"\r\n", b"\n")
    envelopes = _envelopes(bundle)
    statement = read_statement(envelopes[0].payload)
    if tcab is None:
        name = f"{statement['predicate']['run_id']}.tcab"
        tcab = _beside(path.with_name(name), MAX_PACK_BYTES, "evidence, which is too large for the page,")
    members = unpack(tcab)
    if missing := sorted(MEMBERS - set(members)):
        raise NotVerified(f"the bundle has no {', '.join(missing)}", kind="container")
    return Container(page, slot != bundle, tcab, envelopes, statement, members)


def _envelopes(bundle: bytes) -> tuple[Envelope, ...]:
    """The signatures, which must all be over the same statement."""
    if not bundle:
        raise NotVerified("the signature slot is empty: nobody signed this", kind="signatures")
    envelopes = read_bundle(bundle)
    if any(envelope.payload != envelopes[0].payload for envelope in envelopes):
        raise NotVerified("the signatures are over different statements", kind="signatures")
    return envelopes


def _content(path: Path, limit_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as err:
        raise UsageError(f"cannot read {path}: {err.strerror or err}", kind="unreadable") from err
    if len(data) > limit_bytes:
        raise NotVerified(f"{path.name} is larger than {limit_bytes} bytes", kind="container")
    return data


def _beside(path: Path, limit_bytes: int, what: str) -> bytes:
    if not path.is_file():
        raise NotVerified(f"the {what} should lie beside it in {path.name}, and does not", kind="container")
    return _content(path, limit_bytes)
