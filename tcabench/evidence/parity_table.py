"""`parity.parquet`: every answer and score of a comparison with a reference, as they were given."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from tcabench.errors import NotVerified
from tcabench.evidence.tables import built, held, read_table, write_table
from tcabench.records.quality import Reply, Score, Spoken, Token

PARITY, PARITY_TABLE = "parity.json", "parity.parquet"
SYSTEMS = ("reference", "candidate")
GREEDY, AGAIN, SAMPLED, SCORE = "greedy", "again", "sampled", "score"
MOST_SEEDS = 16


def write_spoken(reference: Spoken, candidate: Spoken) -> bytes:
    """The table: a row an answer or score, in their order. raises: EvidenceError for a count beyond 64 bits."""
    rows = [
        row for system, spoken in zip(SYSTEMS, (reference, candidate), strict=True) for row in _rows(system, spoken)
    ]
    return write_table([_utf8(row) for row in rows], _schema(), PARITY_TABLE)


def read_spoken(data: bytes, reference: str, candidate: str) -> tuple[Spoken, Spoken]:
    """What `write_spoken` was given, under the systems' names. raises: NotVerified."""
    rows = list(built(_checked, read_table(data, _schema(), PARITY_TABLE), PARITY_TABLE))
    ours, theirs = (
        _spoken(name, [row for row in rows if row["system"] == system])
        for system, name in zip(SYSTEMS, (reference, candidate), strict=True)
    )
    return ours, theirs


def _schema() -> Any:
    import pyarrow as pa

    best = pa.list_(pa.struct([pa.field("label", pa.string(), False), pa.field("logprob", pa.float64(), False)]))
    token = pa.struct(
        [pa.field("label", pa.string(), False), pa.field("logprob", pa.float64()), pa.field("top", best, False)]
    )
    columns = {"system": pa.string(), "part": pa.string(), "draw": pa.int64(), "id": pa.string(), "text": pa.string()}
    columns |= {"tokens": pa.list_(token), "finish": pa.string(), "output_tok": pa.int64(), "error": pa.string()}
    columns |= {"right": pa.bool_()}
    maybe = ("tokens", "finish", "output_tok", "right")
    return pa.schema([pa.field(name, kind, name in maybe) for name, kind in columns.items()])


def _rows(system: str, spoken: Spoken) -> Iterator[dict[str, Any]]:
    draws = [(SAMPLED, draw, replies) for draw, replies in enumerate(spoken.sampled)]
    for part, draw, replies in ((GREEDY, 0, spoken.greedy), (AGAIN, 0, spoken.again), *draws):
        for reply in replies:
            row = {name: getattr(reply, name) for name in ("id", "text", "finish", "output_tok", "error", "right")}
            yield {"system": system, "part": part, "draw": draw, **row, "tokens": _told(reply.tokens)}
    for score in spoken.scores:
        nothing = {"text": "", "finish": None, "output_tok": None, "right": None}
        own = {"id": score.id, "error": score.error, "tokens": _told(score.tokens)}
        yield {"system": system, "part": SCORE, "draw": 0, **nothing, **own}


def _told(tokens: Sequence[Token] | None) -> list[dict[str, Any]] | None:
    if tokens is None:
        return None
    return [{**asdict(token), "top": [{"label": a, "logprob": b} for a, b in token.top]} for token in tokens]


def _utf8(value: Any) -> Any:
    """`value` with text that UTF-8 can hold, however deep."""
    if isinstance(value, dict):
        return {key: _utf8(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_utf8(inner) for inner in value]
    return held(value) if isinstance(value, str) else value


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    if row["system"] not in SYSTEMS or row["part"] not in (GREEDY, AGAIN, SAMPLED, SCORE):
        raise ValueError(f"{row['part']!r} of {row['system']!r} is no part of a comparison")
    if not 0 <= row["draw"] < MOST_SEEDS:
        raise ValueError(f"draw {row['draw']}")
    tokens = row["tokens"]
    return {**row, "tokens": None if tokens is None else tuple(_token(each) for each in tokens)}


def _token(told: dict[str, Any]) -> Token:
    numbers = [told["logprob"], *(each["logprob"] for each in told["top"])]
    if any(number is not None and not -float("inf") < number <= 0 for number in numbers):
        raise ValueError("a log-probability that is none")
    return Token(told["label"], told["logprob"], tuple((each["label"], each["logprob"]) for each in told["top"]))


def _spoken(name: str, rows: Sequence[dict[str, Any]]) -> Spoken:
    draws = sorted({row["draw"] for row in rows if row["part"] == SAMPLED})
    if draws != list(range(len(draws))):
        raise NotVerified(f"{PARITY_TABLE}: a set of sampled answers is missing", kind="table")
    return Spoken(
        name, _replies(rows, GREEDY), _replies(rows, AGAIN),
        tuple(_replies(rows, SAMPLED, draw) for draw in draws),
        tuple(Score(row["id"], row["tokens"] or (), row["error"]) for row in rows if row["part"] == SCORE),
    )  # fmt: skip


def _replies(rows: Sequence[dict[str, Any]], part: str, draw: int = 0) -> tuple[Reply, ...]:
    names = ("id", "text", "tokens", "finish", "output_tok", "error", "right")
    return tuple(
        Reply(**{name: row[name] for name in names}) for row in rows if row["part"] == part and row["draw"] == draw
    )
