"""The whole product on one screen: `measure` makes the evidence, `conclude` says what it means. Read this first.

A run is `measure`, then `conclude`; the recovery of a run that broke off is `conclude` alone. Both read the same
journal, so nothing that a report says depends on what only the running process knew.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcabench.errors import NotMeasured
from tcabench.evidence import (
    JournalRead,
    SealedRun,
    Signer,
    append_ledger,
    read_journal,
    result_document,
    seal,
)
from tcabench.evidence.canonical import plain
from tcabench.evidence.parity_table import PARITY, PARITY_TABLE
from tcabench.grades import graded
from tcabench.kit import Kit, ledger_path
from tcabench.load import LoadPlan, drive, fold, fold_work, play_marker
from tcabench.parity.in_run import ask_both, not_compared, planned_parity
from tcabench.plan import RunPlan, parse_plan
from tcabench.policy import Policy, parse_policy, standing
from tcabench.power import recording
from tcabench.provenance import has_random_weights
from tcabench.quality import detect, detected, recount
from tcabench.records import Arrivals, NotMetered, Outcome, Quantity, RunRecord, Trace
from tcabench.timeline import chips
from tcabench.units import seconds
from tcabench.verify.parity import Pair, found_in, read_parity
from tcabench.verify.recompute import Told, derive, phase_marks
from tcabench.workload import expand

LEAST_TAIL_S, MOST_TAIL_S = 1.0, 120.0
DRAWN = "the weights were drawn at random; what the model says means nothing"
VERDICT_EXIT = {Outcome.PASS: 0, Outcome.FAIL: 3}


@dataclass(frozen=True, slots=True)
class Concluded:
    """A sealed run: what it found, where its files lie, and the exit code that says so."""

    record: RunRecord
    result: Mapping[str, Any]
    sealed: SealedRun
    exit_code: int


def run(plan: RunPlan, kit: Kit) -> Concluded:
    """Measure, then conclude. raises: NotMeasured and its kin; the evidence so far stays in `kit.folder`."""
    measure(plan, kit)
    return conclude(kit.folder, kit.tokenizer, kit.signer, complete=True)


def measure(plan: RunPlan, kit: Kit) -> None:
    """Idle, marker, load, idle, with every meter running and every event in the journal as it happens."""
    requests = expand(kit.workload, plan.seed, plan.load_arrivals())
    load = LoadPlan(plan.load_arrivals(), plan.phases(), plan.requests)
    with recording(kit.meters, kit.clock, kit.take_samples, kit.take_fault):
        kit.rest(plan.window.idle_s, "idle")
        if plan.marker:
            mark_load(plan, kit)
        kit.watch("phase", ("load", plan.window.warmup_s + plan.window.measure_s))
        drive(requests, kit.endpoint, load, kit.clock, kit.take_request, kit.mark)
        kit.rest(plan.window.idle_s, "idle_after")
        kit.clock.sleep(tail_s(kit))
    kit.journal.flush()
    compare(plan, kit)


def compare(plan: RunPlan, kit: Kit) -> None:
    """Ask the very server that was metered, and a reference, the same, after all metering: no joule of it is counted.
    What both said goes into the journal; a reference that fails leaves the reason there."""
    if plan.reference is None:
        return
    kit.journal.event({"t": kit.clock.now_ns(), "event": "comparison_start"})
    if kit.reference is None:
        document, table = not_compared(plan.reference.system, DRAWN), None
    else:
        planned, facts = planned_parity(kit.workload.prompts, plan.reference), {"model": plan.model}
        document, table = ask_both(kit.endpoint, facts, kit.reference, planned, kit.folder, kit.asking)
    if table is not None:
        kit.journal.write(PARITY_TABLE, table)
    kit.journal.write(PARITY, document)
    kit.journal.event({"t": kit.clock.now_ns(), "event": "comparison_end"})


def mark_load(plan: RunPlan, kit: Kit) -> None:
    """A pseudo-random load before the real one: what every meter is lined up by."""
    marker = plan.marker
    if marker is None:
        return
    kit.watch("phase", ("marker", marker.chips * marker.chip_s))
    requests = expand(kit.workload, plan.seed + 1, Arrivals("closed", marker.concurrency, None))
    pattern = chips(plan.seed, marker.chips)
    play_marker(
        requests, kit.endpoint, pattern, marker.chip_s, marker.concurrency, kit.clock, kit.take_marker, kit.mark
    )


def tail_s(kit: Kit) -> float:
    """How late the slowest meter tells of an instant: the last one of the run must be on the tape too."""
    late_ns = [2 * (c.update_ns + c.average_ns) + c.period_ns for meter in kit.meters for c in meter.channels()]
    return min(MOST_TAIL_S, max([LEAST_TAIL_S, *map(seconds, late_ns)]))


def conclude(folder: Path, tokenizer: Path | None, signer: Signer, complete: bool) -> Concluded:
    """Window, energy, values and verdicts from the journal in `folder`, sealed there.

    They come from `verify.recompute.derive`, the very function that a verifier runs over the sealed evidence.

    raises: EvidenceError when there is no journal, or the sealed files cannot be written.
    """
    kept = read_journal(folder)
    plan, policy = (
        parse_plan(_document(kept, folder, "plan.json")),
        parse_policy(_document(kept, folder, "policy.yaml")),
    )
    events = kept.events if complete else closed(kept)
    document, sut, work = plan.model_dump(mode="json"), _sut(kept), fold_work(kept.requests)
    traces, quality = _quality(fold(kept.requests, last_ns(kept)), tokenizer, sut, plan)
    parity, spoken = _parity(kept, plan, traces)
    told = Told(sut, parity.get("found"), work)
    found = derive(document, kept.channels, traces, kept.samples, events, policy, complete, told)
    record = RunRecord(
        run_id=plan.run_id, complete=complete, plan=document, sut=sut, channels=kept.channels,
        samples=kept.samples, traces=traces, window=found.window, energy=found.energy, values=found.values,
        judgement=found.judgement, quality=as_kept(quality), events=tuple(as_kept(event) for event in events),
        aligned=found.aligned, parity=as_kept(parity), spoken=spoken, work=work,
        work_sums=as_kept(found.work or {}),
    )  # fmt: skip
    return _sealed(folder, record, policy, signer)


def _quality(
    traces: Sequence[Trace], tokenizer: Path | None, sut: Mapping[str, Any], plan: RunPlan
) -> tuple[tuple[Trace, ...], dict[str, Any]]:
    """The traces, recounted and graded, and their `quality.json`; none of a model whose weights were drawn."""
    if has_random_weights(sut):
        return tuple(traces), {"none": {"why": DRAWN}}
    counted, account = recount(traces, tokenizer)
    told, grades = graded(counted, plan.workload)
    return told, account | detected(detect(told, plan.pinned)) | grades


def _parity(kept: JournalRead, plan: RunPlan, traces: Sequence[Trace]) -> tuple[dict[str, Any], Pair | None]:
    """The comparison with a reference and all that was said in it; ({}, None) where none was planned."""
    if plan.reference is None:
        return {}, None
    members = {name: kept.documents[name] for name in (PARITY, PARITY_TABLE) if name in kept.documents}
    if PARITY not in members:
        return not_compared(plan.reference.system, "the run broke off before the answers were compared"), None
    document, spoken = read_parity(members)
    return document | {"found": found_in(document, spoken, traces, plan.workload.temperature)}, spoken


def as_kept(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document as it will be read from the bundle: the page is made of the same, down to the order of its keys."""
    kept: dict[str, Any] = json.loads(plain(document))
    return kept


def last_ns(kept: JournalRead) -> int:
    """The last instant (ns) that the journal knows of."""
    times = [event["t"] for event in (*kept.events, *kept.requests)] + [sample.t_ns for sample in kept.samples]
    return max(times, default=0)


def closed(kept: JournalRead) -> tuple[Mapping[str, Any], ...]:
    """The events of a broken run, its open phases closed at the last instant that the journal knows of."""
    marks, end_ns = phase_marks(kept.events), last_ns(kept)
    missing = [phase for phase in ("load_stop", "drain_end") if phase not in marks and "load_start" in marks]
    torn = [{"t": end_ns, "event": "torn_line", "stream": stream} for stream in kept.torn]
    return (
        *kept.events,
        *torn,
        *({"t": end_ns, "event": "phase", "phase": phase, "recovered": True} for phase in missing),
    )


def _sealed(folder: Path, record: RunRecord, policy: Policy, signer: Signer) -> Concluded:
    from tcabench.report import render

    result = result_document(
        record.run_id,
        record.complete,
        record.window,
        record.energy,
        record.values,
        record.judgement,
        policy.id,
        policy.digest,
    )
    now_ns, ledger = time.time_ns(), ledger_path()
    sealed = seal(
        folder,
        record,
        policy_yaml=policy.yaml_bytes,
        ledger=ledger.read_bytes() if ledger.exists() else b"",
        render=lambda tcab: render(
            record, result, tcab, f"{record.run_id}.tcab", signer_facts(signer.keyid), public_rows(record)
        ),
        signer=signer,
        signed_at_ns=now_ns,
    )
    append_ledger(ledger, record.run_id, "sealed" if record.complete else "incomplete", now_ns)
    measured = record.window is not None and record.complete
    code = VERDICT_EXIT.get(record.judgement.overall, 6) if measured else NotMeasured.exit_code
    return Concluded(record, result, sealed, code)


def signer_facts(keyid: str) -> dict[str, str]:
    """What the page shows of the signer's key."""
    from tcabench.evidence.signers.file_key import fingerprint

    return {"fingerprint": fingerprint(keyid), "key_id": keyid, "algorithm": "Ed25519"}


def public_rows(record: RunRecord) -> list[dict[str, Any]]:
    """Dated public results for the page to place this one among; none where there is no figure to place."""
    figure = record.values.get("output_tokens_per_kwh", NotMetered("not planned"))
    if not isinstance(figure, Quantity):
        return []
    return [
        {"what": p.what, "boundary": p.boundary, "j_per_token": p.j_per_token, "tokens_per_kwh": p.token_per_kwh,
         "date": p.date, "source": p.source}
        for p in (row.published for row in standing(figure.value).rows)
    ]  # fmt: skip


def _document(kept: JournalRead, folder: Path, name: str) -> bytes:
    if name not in kept.documents:
        raise NotMeasured(
            f"{folder} broke off before its {name} was written: there is nothing to seal", "nothing-to-seal"
        )
    return kept.documents[name]


def _sut(kept: JournalRead) -> dict[str, Any]:
    sut: dict[str, Any] = json.loads(kept.documents.get("sut.json", b"{}"))
    return sut
