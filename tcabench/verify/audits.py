"""Step 6: does the evidence agree with itself, and what should a reader know of it?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from tcabench.errors import NotVerified
from tcabench.evidence.ledger import read_ledger
from tcabench.quality import DETECTORS, detect, detected
from tcabench.records import Energy, Kind, PowerSample, Status
from tcabench.timeline.window import ORDER, PHASES
from tcabench.units import NS_PER_S
from tcabench.verify.grades import misgraded
from tcabench.verify.parity import misjudged
from tcabench.verify.recompute import Raw, phase_marks
from tcabench.verify.work import misworked

SLACK_NS = NS_PER_S  # marks and time-stamps are taken by different tasks
TIMER_NS = 1_000_000  # a timer may ring that much early
RECOUNT_REL = 0.02
RECOUNT_TOK = 2  # per answer: servers count the end token, or a stop word, that the text does not show


@dataclass(frozen=True, slots=True)
class Audit:
    """One audit. `faults` contradict the evidence; `warnings` do not, but a reader should know them."""

    id: str
    name: str
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


def audit(raw: Raw, ledger: bytes, energy: Energy | None, parity: Mapping[str, Any] | None = None) -> tuple[Audit, ...]:
    """Every audit over one run; `energy` and `parity` are the account and the comparison as derived from the raw
    evidence."""
    return (
        _audit("A-02", "token recount", warnings=recount(raw)),
        _audit("A-08", "run ledger", *_ledger(raw, ledger)),
        _audit("A-20", "requests within the run", faults=outside(raw)),
        _audit("A-23", "requests as planned", faults=unplanned(raw)),
        _audit("A-21", "samples in order", faults=out_of_order(raw)),
        _audit("A-22", "phases in order", faults=phases(raw)),
        _audit("A-25", "graded answers", faults=misgraded(raw.traces, raw.quality)),
        _audit("A-26", "signs in the answers", faults=unsaid(raw)),
        _audit("A-27", "comparison with a reference", faults=_compared(raw, parity)),
        _audit("A-28", "work done and spared", faults=misworked(raw.work, raw.traces)),
        _audit("A-24", "meters and their clocks", warnings=meters(raw, energy)),
    )


def unsaid(raw: Raw) -> Iterator[str]:
    """A-26: what the quality record says of the answers against what is found in them again; plug-ins' signs are not
    looked for here."""
    told = raw.quality.get("detected")
    if told is None:
        return
    said = {row["name"]: row for row in told}
    for row in detected(detect(raw.traces, bool(raw.plan["pinned"]), DETECTORS.builtin))["detected"]:
        if said.get(row["name"]) != row:
            yield f"the quality record says otherwise of {row['title']!r} than the answers do"


def _compared(raw: Raw, parity: Mapping[str, Any] | None) -> Iterator[str]:
    """A-27, and that nothing of the comparison took place while meters ran for the run."""
    yield from misjudged(raw.plan, raw.parity, raw.spoken, parity)
    begun = [event["t"] for event in raw.events if event["event"] == "comparison_start"]
    if begun and min(begun) < max(phase_marks(raw.events).values(), default=0):
        yield "the comparison began before the last phase of the run was over"


def recount(raw: Raw) -> Iterator[str]:
    """A-02: the server's token counts against the recount with the model's own tokenizer."""
    pairs = [
        (trace.output_tok, trace.recount_tok)
        for trace in raw.traces
        if trace.status is Status.OK and trace.output_tok is not None and trace.recount_tok is not None
    ]
    server, counted = sum(a for a, _ in pairs), sum(b for _, b in pairs)
    if server - counted > RECOUNT_REL * counted + RECOUNT_TOK * len(pairs):
        yield f"the server counts {server} output tokens where its text has {counted}"


def outside(raw: Raw) -> Iterator[str]:
    """A-20: every request once, its instants in order and between load_start and drain_end."""
    marks = phase_marks(raw.events)
    first = marks.get("load_start", 0) - SLACK_NS
    last = marks["drain_end"] + SLACK_NS if "drain_end" in marks else None
    seen: set[int] = set()
    for trace in raw.traces:
        instants = (trace.sent_ns, *trace.chunk_ns, trace.end_ns)
        if trace.index in seen:
            yield f"request {trace.index} is there twice"
        if any(later < earlier for earlier, later in pairwise(instants)):
            yield f"request {trace.index}: its instants are not in order"
        if trace.sent_ns < first or (last is not None and trace.end_ns > last):
            yield f"request {trace.index} lies outside the run"
        seen.add(trace.index)


def unplanned(raw: Raw) -> Iterator[str]:
    """A-23: no request left out, none more than was planned, and timed from the instant that the plan says."""
    indices = sorted(trace.index for trace in raw.traces)
    if indices != list(range(len(indices))):
        yield "requests are missing: their numbers have holes"
    limit, slots = raw.plan["requests"], raw.plan["concurrency"]
    if limit is not None and len(indices) > limit:
        yield f"{len(indices)} requests where {limit} were planned"
    if any((trace.due_ns is None) is (slots is None) for trace in raw.traces):
        yield "requests are timed from a schedule in a closed loop, or from sending in an open one"
    if any(trace.due_ns is not None and trace.due_ns > trace.sent_ns + TIMER_NS for trace in raw.traces):
        yield "a request was sent before it was due"
    if slots is not None and most_in_flight(raw) > slots:
        yield f"{most_in_flight(raw)} requests in flight at once where {slots} were planned"


def most_in_flight(raw: Raw) -> int:
    """The most requests that were under way at one instant."""
    steps = sorted([(t.end_ns, -1) for t in raw.traces] + [(t.sent_ns, 1) for t in raw.traces])
    return max(accumulate(step for _, step in steps), default=0)


def out_of_order(raw: Raw) -> Iterator[str]:
    """A-21: the readings of a channel follow each other in time, and every channel is described. A meter that stamps
    its readings may hand over several at once, each with a later stamp."""
    known = {channel.id: channel for channel in raw.channels}
    latest: dict[str, tuple[int, int]] = {}
    for sample in raw.samples:
        channel = known.get(sample.channel)
        if channel is None:
            yield f"channel {sample.channel!r} is not described"
        elif (sample.device_ns is not None) and not channel.has_own_clock:
            yield f"channel {sample.channel!r} has stamps of its own, and is not described so"
        elif sample.read_ns < 0 or not _follows(sample, latest.get(sample.channel)):
            yield f"channel {sample.channel!r}: readings at {sample.t_ns} ns are not in order"
        latest[sample.channel] = (sample.t_ns, sample.device_ns or 0)


def _follows(sample: PowerSample, before: tuple[int, int] | None) -> bool:
    """Whether a reading comes after the one before: by our clock, or of the same read by the meter's own."""
    if before is None or sample.t_ns > before[0]:
        return True
    return sample.t_ns == before[0] and sample.device_ns is not None and sample.device_ns > before[1]


def phases(raw: Raw) -> Iterator[str]:
    """A-22: each phase once, in order; a run that calls itself complete reached them all, the optional ones whole."""
    marks = [(event["phase"], event["t"]) for event in raw.events if event["event"] == "phase"]
    names = [name for name, _ in marks]
    order = [name for name in ORDER if name in names]
    if names != order:
        yield f"the phases {', '.join(map(str, names))} are not in order, each once"
    if any(later < earlier for (_, earlier), (_, later) in pairwise(marks)):
        yield "a phase begins before the one it follows"
    missing = [name for name in PHASES if name not in names]
    if raw.result["complete"] and (missing or ("marker_start" in names) != ("marker_end" in names)):
        yield "the run calls itself complete, but did not reach every phase"


def meters(raw: Raw, energy: Energy | None) -> Iterator[str]:
    """A-24: what was wrong with the readings of the meters that the energy rests on, and with their clocks. A counter
    that was reset is told, too, where its domain's energy was taken from the power beside it."""
    if energy is None:
        return
    domains, told = {domain.domain for domain in energy.domains}, set[tuple[str, str]]()
    beside = {c.id: c.meter for c in raw.channels if c.domain in domains and c.kind in (Kind.POWER, Kind.ENERGY)}
    for health in energy.health:
        for fault in health.faults if health.channel in beside else ():
            if (beside[health.channel], fault) not in told:
                told.add((beside[health.channel], fault))
                yield f"{health.channel}: {fault}"
    stamped = {channel.meter for channel in raw.channels if channel.has_own_clock}
    for alignment in energy.alignments:
        if alignment.method == "host clock" and alignment.meter in stamped:
            yield f"{alignment.meter}: its own clock was not used: {alignment.why}"


def _ledger(raw: Raw, ledger: bytes) -> tuple[Iterable[str], Iterable[str]]:
    """A-08: the ledger's chain holds and knows this run; other runs of the rig are told."""
    try:
        entries = read_ledger(ledger)
    except NotVerified as err:
        return (str(err),), ()
    return (), _in_ledger(entries, raw.plan["run_id"])


def _in_ledger(entries: Sequence[Mapping[str, Any]], run_id: str) -> Iterator[str]:
    started = [entry.get("run_id") for entry in entries if entry.get("state") == "started"]
    if run_id not in started:
        yield "the rig's ledger does not know this run"
    elif len(started) > 1:
        yield f"run {started.index(run_id) + 1} of {len(started)} started on this rig so far: ask for the others"


def _audit(id: str, name: str, faults: Iterable[str] = (), warnings: Iterable[str] = ()) -> Audit:
    return Audit(id, name, tuple(faults), tuple(warnings))
