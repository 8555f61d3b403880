"""One round of the engines' benchmark: every engine in turn on the same prompts, and the figures of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.engine_client import Asked, Row
from benchmarks.engine_reference import Known, Reference, identity
from benchmarks.engine_roofline import OURS_PLANES, Model, between, decoding, measured_machine
from benchmarks.engine_servers import Server
from benchmarks.figures import Measured, at_least, at_most, told

OURS, PLAIN, GENERATE, ROOFLINE = "ours", "ours_without_speculation", "transformers_generate", "roofline"
GOALS: Mapping[str, Mapping[int, float]] = {
    GENERATE: {1: 20, 16: 40, 64: 40},
    "vllm": {1: 4, 16: 1.5, 64: 1.2},
    "llama_cpp": {1: 1.5, 16: 1.5, 64: 1.5},
    "transformers_serve": {16: 4, 64: 4},
    ROOFLINE: {1: 0.8, 64: 0.6},
}
UNGOALED: Mapping[str, Sequence[int]] = {"vllm_float32": (1, 16, 64)}
PEERS = (*GOALS, *UNGOALED)
ALONE, BATCHED = f"{GENERATE}_b1", f"{GENERATE}_batched"  # the reference, one prompt at a time and all at once


@dataclass(frozen=True, slots=True)
class Size:
    """How much a round measures: requests of a row by its concurrency (`alone`: so many of them by the
    reference at batch 1), output tokens of each, and how long each rate of the machine is measured in s."""

    requests: Mapping[int, int]
    alone: Mapping[int, int]
    output_tok: int
    decode_tok: int
    roofline_s: float


FULL = Size({1: 8, 16: 32, 64: 96}, {1: 8, 16: 4, 64: 4}, 64, 128, 1.5)
ONE_AT_A_TIME, FEW = {"llama_cpp"}, 16  # its rate is the same however many wait: so many requests tell it
QUICK = Size({1: 2, 16: 16, 64: 64}, {1: 2, 16: 2, 64: 2}, 24, 48, 0.3)


@dataclass
class Bench:
    """All that is running, and the serial number of the next prompt."""

    size: Size
    peers: Sequence[str]
    servers: Mapping[str, Server]
    reference: Reference
    model: Model
    folder: Path
    self_error: float
    serial: int = 1
    messages: Sequence[Any] = ()
    known: Known = field(default_factory=Known)

    def prompts(self, count: int) -> list[Asked]:
        """`count` chat prompts that no engine has seen: each begins with a number of its own."""
        first, self.serial = self.serial, self.serial + count
        chosen = [self.messages[i % len(self.messages)] for i in range(first, self.serial)]
        return self.reference.render(first, [_numbered(first + i, one) for i, one in enumerate(chosen)])

    def concurrencies(self) -> list[int]:
        """Those at which any of the chosen peers is measured."""
        of = [GOALS.get(peer) or UNGOALED[peer] for peer in self.peers if peer != ROOFLINE]
        return sorted({c for chosen in of for c in chosen})


def measure(bench: Bench, number: int) -> Iterator[Measured]:
    """One round's figures."""
    for c in bench.concurrencies():
        yield from _at(bench, number, c)
    if ROOFLINE in bench.peers:
        for batch in GOALS[ROOFLINE]:
            yield from _roofline(bench, batch)


def _at(bench: Bench, number: int, c: int) -> Iterator[Measured]:
    """Every engine with `c` requests in flight; who comes first changes from round to round."""
    prompts = bench.prompts(bench.size.requests[c])
    there = [OURS, *(p for p in bench.servers if p in bench.peers and c in (GOALS.get(p) or UNGOALED[p]))]
    if GENERATE in bench.peers:
        there += [ALONE, BATCHED] if c > 1 else [ALONE]
    turn = number % len(there)
    rows: dict[str, Row] = {}
    for name in there[turn:] + there[:turn]:
        rows[name] = _row(bench, name, c, prompts)
        _say(f"{name} at {c}", rows[name])
    for name in there:
        yield from _costs(_label(name, c), rows[name])
    for name in there[1:]:
        yield _ratio(name, c, rows[OURS].tokens_per_s / rows[name].tokens_per_s)
    yield from _identities(bench, c, prompts, rows)


def _row(bench: Bench, name: str, c: int, prompts: Sequence[Asked]) -> Row:
    output_tok = bench.size.output_tok
    if name == ALONE:
        row, ids = bench.reference.row(prompts[: bench.size.alone[c]], 1, output_tok)
        bench.known.alone |= ids
    elif name == BATCHED:
        row, ids = bench.reference.row(prompts, c, output_tok)
        bench.known.batched |= ids
    else:
        some = prompts[:FEW] if name in ONE_AT_A_TIME else prompts
        row = bench.servers[name].row(some, c, output_tok)
    return row


def _label(name: str, c: int) -> str:
    return f"{GENERATE}_b{c}_c{c}" if name == BATCHED else f"{name}_c{c}"


def _ratio(name: str, c: int, ratio: float) -> Measured:
    """Ours over theirs, in output tokens per second."""
    if name == ALONE:
        unit = f"tokens/s, ours with {c} in flight / theirs one after the other (batch 1)"
        return at_least(_label(name, c), ratio, GOALS[GENERATE][c], unit)
    if name == BATCHED:
        return told(_label(name, c), ratio, f"tokens/s, ours with {c} in flight / theirs at batch {c}")
    unit = f"tokens/s, ours / theirs, both with {c} in flight"
    if name in UNGOALED:
        return told(_label(name, c), ratio, unit)
    return at_least(_label(name, c), ratio, GOALS[name][c], unit)


def _costs(name: str, row: Row) -> Iterator[Measured]:
    """What a row cost, and whether it had the machine to itself."""
    yield told(f"{name}: tokens/s", row.tokens_per_s, "output tokens/s, end to end")
    yield told(f"{name}: CPU", row.cpu_s_per_token, "CPU s/output token, its process tree")
    yield told(f"{name}: cores", row.cores, "(CPU of engine and client) / wall time")


def _identities(bench: Bench, c: int, prompts: Sequence[Asked], rows: Mapping[str, Row]) -> Iterator[Measured]:
    """How many answers are the float32 reference's, token for token."""
    if GENERATE not in bench.peers:
        return
    for name, row in rows.items():
        if name in (ALONE, BATCHED):
            continue
        error = bench.self_error if name == OURS else None
        found = identity(bench.reference, bench.known, prompts, row.answers, error)
        share, unit = found.same / found.compared, f"share of {found.compared} sequences of {bench.size.output_tok}"
        if name != OURS:
            yield told(f"{name}_c{c}: identical", share, unit)
            continue
        yield at_least(f"{OURS}_c{c}: identical", share, 1.0, unit)
        yield told(f"{OURS}_c{c}: ties", found.ties, f"sequences; margin under 2 x {bench.self_error:.1e} of a logit")
        yield at_most(f"{OURS}_c{c}: faults", found.faults, 0.0, "sequences that differ and are no tie")


def _roofline(bench: Bench, batch: int) -> Iterator[Measured]:
    """Decoding alone beside the machine's limit, measured just before and just after."""
    server, size = bench.servers[PLAIN], bench.size
    before = measured_machine(bench.folder, bench.model, size.roofline_s)
    found = decoding(server, bench.prompts(max(batch, size.requests[1])), batch, size.decode_tok)
    machine = between(before, measured_machine(bench.folder, bench.model, size.roofline_s))
    limit = machine.tokens_per_s(bench.model, batch, found.context_tok)
    unit = f"decode tokens/s by step time at batch {batch}, speculation off / the machine's limit"
    yield at_least(f"{ROOFLINE}_c{batch}", found.tokens_per_s / limit, GOALS[ROOFLINE][batch], unit)
    yield told(
        f"{ROOFLINE}_c{batch}: end to end", found.row.tokens_per_s / limit, "tokens/s with prefill and HTTP / limit"
    )
    exact = machine.tokens_per_s(bench.model, batch, found.context_tok, OURS_PLANES)
    yield told(f"{ROOFLINE}_c{batch}: of the limit at 24 bits", found.tokens_per_s / exact, "decoding / limit")
    yield told(f"{ROOFLINE}_c{batch}: limit", limit, "tokens/s")
    yield told(f"{ROOFLINE}_c{batch}: decoding", found.tokens_per_s, "tokens/s")
    yield told(f"{ROOFLINE}_c{batch}: cores", found.row.cores, "(CPU of engine and client) / wall time")
    yield told(f"{ROOFLINE}_c{batch}: read", machine.read_b_s / 1e9, "GB/s")
    yield told(f"{ROOFLINE}_c{batch}: int8", machine.int8_mac_s / 1e9, "G multiply-adds/s")


def _numbered(serial: int, messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The messages, the first of the user's with its number before it."""
    made = [dict(message) for message in messages]
    first = next(message for message in made if message["role"] == "user")
    first["content"] = f"[{serial}] {first['content']}"
    return made


def _say(what: str, row: Row) -> None:
    print(f"  {what}: {row.tokens_per_s:.1f} tokens/s, {row.cores:.2f} cores busy", flush=True)
