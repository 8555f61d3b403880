"""Tables: what was written comes back, to the last bit; other tables are refused."""

import math
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcabench.errors import EvidenceError, NotVerified
from tcabench.evidence import tables
from tcabench.evidence.canonical import plain, read_json
from tcabench.records import PowerSample, Status, Trace
from tests.evidence.sample_run import channels, traces

WHOLE = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MAYBE = st.none() | WHOLE
TRACES = st.builds(
    Trace, WHOLE, TEXT, WHOLE, MAYBE, WHOLE, WHOLE, st.lists(WHOLE, max_size=4).map(tuple), st.sampled_from(Status),
    MAYBE, TEXT, st.none() | TEXT, TEXT, MAYBE, MAYBE, MAYBE, st.none() | TEXT,
)  # fmt: skip
SAMPLES = st.builds(PowerSample, WHOLE, WHOLE, TEXT, st.floats(allow_nan=False))


@settings(deadline=None, max_examples=50)
@given(st.lists(TRACES, max_size=5))
def test_requests_come_back_exactly(written):
    assert tables.read_traces(tables.write_traces(written)) == tuple(written)


@settings(deadline=None, max_examples=50)
@given(st.lists(SAMPLES, max_size=20))
def test_samples_come_back_exactly(written):
    read = tables.read_samples(tables.write_samples(written))
    assert read == tuple(written)
    assert [math.copysign(1, s.value) for s in read] == [math.copysign(1, s.value) for s in written]


def test_text_that_utf8_cannot_hold_is_marked_not_fatal():
    broken = replace(traces()[0], text="a\ud800b", error="\udfff")
    read = tables.read_traces(tables.write_traces([broken]))[0]
    assert "\ud800" not in read.text
    assert read.text.startswith("a")
    assert "\ufffd" in read.text
    assert read.text.endswith("b")


def test_a_count_beyond_64_bits_is_an_evidence_error():
    with pytest.raises(EvidenceError, match=r"requests\.parquet"):
        tables.write_traces([replace(traces()[0], output_tok=2**70)])


def test_channels_come_back_exactly():
    assert tables.read_channels(tables.write_channels(channels())) == channels()


@pytest.mark.parametrize(
    "news",
    [
        {"kind": "warmth"},
        {"role": "boss"},
        {"has_own_clock": "yes"},
        {"gain_low": "1"},
        {"gain_low": True},
        {"gain_low": 2.0},
        {"gain_low": -0.5},
        {"class_pct": -1.0},
        {"is_estimate": 0},
        {"period_ns": 1.5},
        {"id": None},
        {"extra": 1},
    ],
)
def test_a_channel_with_a_wrong_field_is_refused(news):
    rows = read_json(tables.write_channels(channels()), "x")
    with pytest.raises(NotVerified, match="row 0"):
        tables.read_channels(plain([rows[0] | news]))


def test_channels_are_a_list_with_distinct_ids():
    rows = read_json(tables.write_channels(channels()), "x")
    for wrong in ({}, [rows[0], rows[0]], [{k: v for k, v in rows[0].items() if k != "domain"}], ["x"]):
        with pytest.raises(NotVerified):
            tables.read_channels(plain(wrong))


def _parquet(table, **options):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def _power(**columns):
    base = {"t_ns": [1], "read_ns": [1], "channel": ["a"], "value": [1.0]}
    return pa.table({**base, **columns})


def test_other_tables_are_refused():
    good = tables.write_samples([PowerSample(1, 1, "a", 1.0)])
    wrong = [b"", b"PAR1", good[:-4], good[:50], tables.write_traces([]), _parquet(_power(value=["1"]))]
    wrong += [_parquet(_power(extra=[1])), _parquet(_power(value=pa.array([None], pa.float64())))]
    for data in wrong:
        with pytest.raises(NotVerified, match=r"power\.parquet"):
            tables.read_samples(data)


def test_a_small_file_that_unfolds_without_end_is_refused(monkeypatch):
    rows = [PowerSample(1, 1, "a", 1.0)] * 5_000
    data = tables.write_samples(rows)
    assert len(data) < 5_000
    for limit, value in (("MAX_ROWS", 4_999), ("MAX_VALUES", 4_999), ("MAX_TABLE_BYTES", 10_000)):
        with monkeypatch.context() as patch:
            patch.setattr(tables, limit, value)
            with pytest.raises(NotVerified):
                tables.read_samples(data)
    with pytest.raises(NotVerified, match="more than is read"):
        tables.read_samples(tables.write_samples([PowerSample(1, 1, "a" * 2_000, 1.0)] * 5))


def test_a_status_that_is_none_of_ours_is_refused():
    table = pq.read_table(pa.BufferReader(tables.write_traces(traces()[:1])))
    place = table.schema.get_field_index("status")
    changed = table.set_column(place, table.schema.field(place), pa.array(["fine"]))
    with pytest.raises(NotVerified, match="fine"):
        tables.read_traces(_parquet(changed))
