"""From a finished run to three files: the bundle, its signatures and the page."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tcabench import __version__
from tcabench.errors import EvidenceError, NotVerified
from tcabench.evidence.canonical import canonical, plain
from tcabench.evidence.disk import write_atomic
from tcabench.evidence.document import result_document
from tcabench.evidence.dsse import read_bundle, sign, write_bundle
from tcabench.evidence.pack import build_pack, open_pack
from tcabench.evidence.parity_table import PARITY, PARITY_TABLE, write_spoken
from tcabench.evidence.signers import Signer
from tcabench.evidence.slot import Page, embeddable, split_page
from tcabench.evidence.statement import Digests, build_statement, write_statement
from tcabench.evidence.store import FOLDER
from tcabench.evidence.tables import WORK_TABLE, write_channels, write_samples, write_traces, write_work
from tcabench.records import RunRecord

ATTESTATION, REPORT = "attestation.jsonl", "report.html"


@dataclass(frozen=True, slots=True)
class SealedRun:
    """Where the sealed files lie, and the digests (hex sha256) that were signed."""

    tcab: Path
    attestation: Path
    report: Path
    keyid: str
    merkle_root: str
    tcab_sha256: str
    page_sha256: str
    is_embedded: bool


def seal(
    folder: Path,
    record: RunRecord,
    *,
    policy_yaml: bytes,
    ledger: bytes,
    render: Callable[[bytes | None], bytes],
    signer: Signer,
    signed_at_ns: int,
) -> SealedRun:
    """Write `<run_id>.tcab`, `attestation.jsonl` and `report.html` into `folder`, then remove its loose evidence.

    `render` gives the page, its signature slot empty, around the bundle that it is to embed (None: the bundle is
    too large and stays beside). `signed_at_ns` is wall time. The loose files go only after all three were read back
    and agree. raises: EvidenceError when anything cannot be written; the loose evidence is whole then.
    """
    tcab, merkle_root = build_pack(record.run_id, members(record, policy_yaml, ledger))
    page = _rendered(render, tcab)
    digests = Digests(merkle_root, sha256(tcab).hexdigest(), page.sha256(), sha256(policy_yaml).hexdigest())
    statement = build_statement(_result(record), record.plan, digests, __version__, signed_at_ns)
    bundle = write_bundle((sign(write_statement(statement), signer),))
    sealed = {f"{record.run_id}.tcab": tcab, ATTESTATION: bundle, REPORT: page.filled(bundle)}
    for name, content in sealed.items():
        write_atomic(folder / name, content)
    _check_written(folder, sealed)
    _remove_loose(folder / FOLDER)
    tcab_path, attestation, report = (folder / name for name in sealed)
    return SealedRun(
        tcab_path, attestation, report, signer.keyid, merkle_root, digests.tcab, digests.page, page.evidence is not None
    )


def _rendered(render: Callable[[bytes | None], bytes], tcab: bytes) -> Page:
    """The page around `tcab`. raises: ValueError when it breaks the contract of slot and evidence block: our bug."""
    try:
        page = split_page(render(tcab if embeddable(tcab) else None))
    except NotVerified as err:
        raise ValueError(f"the rendered page cannot be sealed: {err}") from err
    if page.slot or page.evidence not in (None, tcab):
        raise ValueError("the rendered page has a filled signature slot, or embeds another bundle than it was given")
    return page


def members(record: RunRecord, policy_yaml: bytes, ledger: bytes) -> dict[str, bytes]:
    """Every file of the bundle but its manifest."""
    return {
        "plan.json": plain(record.plan),
        "sut.json": plain(record.sut),
        "channels.json": write_channels(record.channels),
        "policy.yaml": policy_yaml,
        "events.jsonl": _lines(record.events),
        "ledger.jsonl": ledger,
        "quality.json": plain(record.quality),
        "result.json": canonical(_result(record)),
        "requests.parquet": write_traces(record.traces),
        "power.parquet": write_samples(record.samples),
        **({WORK_TABLE: write_work(record.work)} if record.work else {}),
        **_compared(record),
    }


def _compared(record: RunRecord) -> dict[str, bytes]:
    """The comparison with a reference, where one was planned, and all that the two said, where they did."""
    said = {PARITY_TABLE: write_spoken(*record.spoken)} if record.spoken else {}
    return {PARITY: plain(record.parity), **said} if record.parity else {}


def _result(record: RunRecord) -> dict[str, Any]:
    return result_document(
        record.run_id,
        record.complete,
        record.window,
        record.energy,
        record.values,
        record.judgement,
        record.plan["policy"]["id"],
        record.plan["policy"]["digest"],
    )


def _lines(events: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(plain(event) + b"\n" for event in events)


def _check_written(folder: Path, sealed: Mapping[str, bytes]) -> None:
    """Read everything back, as a reader would. raises: EvidenceError, NotVerified."""
    for name, content in sealed.items():
        try:
            same = (folder / name).read_bytes() == content
        except OSError as err:
            raise EvidenceError(
                f"{folder / name} cannot be read back: {err.strerror or err}", kind="read-back"
            ) from err
        if not same:
            raise EvidenceError(
                f"{folder / name} does not hold what was written; the disk is failing", kind="read-back"
            )
        if name.endswith(".tcab"):
            open_pack(content)
    read_bundle(sealed[ATTESTATION])


def _remove_loose(loose: Path) -> None:
    """The loose files are all in the bundle now. raises: EvidenceError when they cannot be removed."""
    try:
        if loose.exists():
            shutil.rmtree(loose)
    except OSError as err:
        message = f"the run is sealed, but {loose} cannot be removed: {err.strerror or err}"
        raise EvidenceError(message, kind="left-over") from err
