"""Requests, samples and channels as files: parquet for the long ones, JSON for the few, each read back exactly."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from tcabench.errors import EvidenceError, NotVerified
from tcabench.evidence.canonical import plain, read_json
from tcabench.records import Channel, Instrument, Kind, PowerSample, Role, Status, Trace, Work

MAX_ROWS = 5_000_000
MAX_VALUES = 200_000_000
MAX_TABLE_BYTES = 400_000_000
MAX_NAME = 1_000
WORK_TABLE = "work.parquet"
BATCH_ROWS = {
    "work.parquet": 65_536,
    "requests.parquet": 8,
    "parity.parquet": 8,
    "power.parquet": 65_536,
}  # a request may hold megabytes of text
NUMBERS = {"gain_low", "gain_high", "resolution", "modulus", "class_pct"}
COUNTS = {"update_ns", "period_ns", "average_ns"}
FLAGS = {"is_estimate", "has_own_clock"}
REQUIRED = {"index", "prompt_id", "max_tok", "sent_ns", "end_ns", "chunk_ns", "status", "error", "text"}


def write_traces(traces: Sequence[Trace]) -> bytes:
    """`requests.parquet`: one row a request, in their order. raises: EvidenceError for a count beyond 64 bits.

    Lone surrogates, which no UTF-8 can hold, become U+FFFD.
    """
    return write_table([_utf8(asdict(trace)) for trace in traces], _trace_schema(), "requests.parquet")


def read_traces(data: bytes) -> tuple[Trace, ...]:
    """What `write_traces` was given. raises: NotVerified."""
    rows = read_table(data, _trace_schema(), "requests.parquet")
    return tuple(built(_trace, rows, "requests.parquet"))


def write_samples(samples: Sequence[PowerSample]) -> bytes:
    """`power.parquet`: one row a reading, in their order. raises: EvidenceError."""
    return write_table([asdict(sample) for sample in samples], _sample_schema(), "power.parquet")


def read_samples(data: bytes) -> tuple[PowerSample, ...]:
    """What `write_samples` was given. raises: NotVerified."""
    rows = read_table(data, _sample_schema(), "power.parquet")
    return tuple(built(lambda row: PowerSample(**row), rows, "power.parquet"))


def write_work(work: Sequence[Work]) -> bytes:
    """`work.parquet`: one row a request and reason, in their order. raises: EvidenceError."""
    return write_table([_utf8(asdict(row)) for row in work], _work_schema(), WORK_TABLE)


def read_work(data: bytes) -> tuple[Work, ...]:
    """What `write_work` was given. raises: NotVerified."""
    return tuple(built(lambda row: Work(**row), read_table(data, _work_schema(), WORK_TABLE), WORK_TABLE))


def write_channels(channels: Sequence[Channel]) -> bytes:
    """`channels.json`: all there is to know of each channel."""
    return plain([asdict(channel) for channel in channels])


def read_channels(data: bytes) -> tuple[Channel, ...]:
    """What `write_channels` was given; every field must be there with its own type. raises: NotVerified."""
    rows = read_json(data, "channels.json")
    if not isinstance(rows, list):
        raise NotVerified("channels.json: not a list of channels", kind="malformed")
    channels = tuple(built(_channel, rows, "channels.json"))
    if len({channel.id for channel in channels}) != len(channels):
        raise NotVerified("channels.json: two channels have one id", kind="malformed")
    return channels


def _trace_schema() -> Any:
    import pyarrow as pa

    whole, text = pa.int64(), pa.string()
    types = {"prompt_id": text, "chunk_ns": pa.list_(whole), "status": text, "error": text, "finish_reason": text}
    types |= {"text": text, "server_id": text, "right": pa.bool_()}
    return pa.schema([pa.field(f.name, types.get(f.name, whole), f.name not in REQUIRED) for f in fields(Trace)])


def _work_schema() -> Any:
    import pyarrow as pa

    types = {"request": pa.int64(), "reason": pa.string(), "macs": pa.int64(), "bytes": pa.int64()}
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in types.items()])


def _sample_schema() -> Any:
    import pyarrow as pa

    types = {"t_ns": pa.int64(), "read_ns": pa.int64(), "channel": pa.string(), "value": pa.float64()}
    types["device_ns"] = pa.int64()
    return pa.schema([pa.field(name, kind, nullable=name == "device_ns") for name, kind in types.items()])


def write_table(rows: list[dict[str, Any]], schema: Any, name: str) -> bytes:
    """`rows` as parquet with exactly `schema`. raises: EvidenceError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    try:
        pq.write_table(pa.Table.from_pylist(rows, schema), sink, compression="zstd")
    except (pa.ArrowException, OverflowError, TypeError) as err:
        raise EvidenceError(f"{name} cannot be written: {err}", kind="table") from err
    written: bytes = sink.getvalue().to_pybytes()
    return written


def read_table(data: bytes, schema: Any, name: str) -> list[dict[str, Any]]:
    """Every row of the table in `data`, which must have exactly `schema` and a size that fits in memory.
    raises: NotVerified."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not pq.read_schema(pa.BufferReader(data)).equals(schema):
            raise NotVerified(f"{name}: its columns are not those of this table", kind="table")
        repeated = ["channel"] if "channel" in schema.names else None
        return list(_rows(pq.ParquetFile(pa.BufferReader(data), read_dictionary=repeated), name))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as err:
        raise NotVerified(f"{name}: not readable as parquet: {err}", kind="table") from err


def _rows(file: Any, name: str) -> Iterator[dict[str, Any]]:
    """The rows, batch by batch: what a small file claims to unfold to is bounded before it is unfolded."""
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    unfolded = sum(group.total_byte_size for group in groups)
    longest = max((group.column(i).num_values for group in groups for i in range(group.num_columns)), default=0)
    if file.metadata.num_rows > MAX_ROWS or longest > MAX_VALUES or unfolded > MAX_TABLE_BYTES:
        raise NotVerified(f"{name}: {file.metadata.num_rows} rows of {unfolded} bytes are too many", kind="table")
    seen = 0
    for batch in file.iter_batches(batch_size=BATCH_ROWS[name], use_threads=False):
        batch.validate(full=True)
        seen += batch.nbytes
        if seen > MAX_TABLE_BYTES or _has_long_name(batch):
            raise NotVerified(f"{name}: unfolds to more than is read", kind="table")
        yield from batch.to_pylist()


def _has_long_name(batch: Any) -> bool:
    """Whether a channel id is so long that repeating it on every row would fill the memory."""
    if "channel" not in batch.schema.names:
        return False
    return any(len(name) > MAX_NAME for name in batch.column("channel").dictionary.to_pylist())


def built(build: Callable[[Any], Any], rows: Sequence[Any], name: str) -> Iterator[Any]:
    """Every row through `build`. raises: NotVerified for one that it cannot use."""
    for number, row in enumerate(rows):
        try:
            yield build(row)
        except (KeyError, TypeError, ValueError) as err:
            raise NotVerified(f"{name}: row {number}: {err}", kind="table") from err


def _trace(row: dict[str, Any]) -> Trace:
    return Trace(**{**row, "chunk_ns": tuple(row["chunk_ns"]), "status": Status(row["status"])})


def _channel(row: Any) -> Channel:
    if not isinstance(row, dict):
        raise TypeError("not an object")
    for field in fields(Channel):
        value = row[field.name]
        if not isinstance(value, _types(field.name)) or (isinstance(value, bool) != (field.name in FLAGS)):
            raise TypeError(f"{field.name} is {value!r}")
    if not 0 <= row["gain_low"] <= row["gain_high"] or row["class_pct"] < 0:
        raise ValueError("gain_low to gain_high and class_pct are no interval and no class of a meter")
    named = {"kind": Kind(row["kind"]), "role": Role(row["role"]), "instrument": Instrument(row["instrument"])}
    return Channel(**{**row, **named})


def _types(field: str) -> tuple[type, ...]:
    if field in NUMBERS:
        return (int, float)
    return (int,) if field in COUNTS else (bool,) if field in FLAGS else (str,)


def _utf8(row: dict[str, Any]) -> dict[str, Any]:
    """The row with text that UTF-8 can hold."""
    return {key: held(value) if isinstance(value, str) else value for key, value in row.items()}


def held(text: str) -> str:
    """`text` as UTF-8 can hold it: lone surrogates become U+FFFD."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
