"""The load generator against a real server on loopback that misbehaves as told."""

import threading
from typing import Any

import pytest

from tcabench.clock import SystemClock
from tcabench.errors import EndpointError, EvidenceError
from tcabench.load import Endpoint, LoadPlan, drive, fold
from tcabench.records import Arrivals, Message, Request, Status, Trace, WindowPlan
from tcabench.testing import FakeEndpoint, Script, fake_endpoint


def requests(due_gap_s: float | None = None, max_tok: int = 8):
    index = 0
    while True:
        due = None if due_gap_s is None else index * due_gap_s
        yield Request(index, f"p{index}", (Message("user", "Hi"),), max_tok, True, 0.0, 1, due)
        index += 1


def endpoint(server: FakeEndpoint, **more: Any) -> Endpoint:
    return Endpoint(server.url, "fake-model", "chat", **({"timeout_s": 10.0} | more))


def load(server: FakeEndpoint, arrivals: Arrivals, limit: int | None = 4, measure_s: float = 20.0, **more: Any):
    """Drive the server; the traces and the marks of the phases."""
    events: list[dict[str, Any]] = []
    marks: dict[str, int] = {}
    window = WindowPlan(0, 0, measure_s, more.pop("drain_s", 5.0))
    plan = LoadPlan(arrivals, window, limit, more.pop("lost_after_s", 15.0))
    source = requests(None if arrivals.kind == "closed" else 1 / (arrivals.rate_per_s or 1))
    drive(source, endpoint(server, **more), plan, SystemClock(), events.append, marks.__setitem__)
    return fold(events, 0), marks


CLOSED = Arrivals("closed", 2, None)


def test_closed_loop_answers_every_request_and_counts_its_tokens() -> None:
    with fake_endpoint() as server:
        traces, marks = load(server, CLOSED, limit=6)
    assert [t.status for t in traces] == [Status.OK] * 6
    assert [t.output_tok for t in traces] == [8] * 6
    assert [len(t.chunk_ns) for t in traces] == [8] * 6
    assert traces[0].text == " w0 w1 w2 w3 w4 w5 w6 w7"
    assert marks["load_start"] <= marks["load_stop"] <= marks["drain_end"]
    assert all(t.sent_ns <= t.chunk_ns[0] <= t.chunk_ns[-1] <= t.end_ns for t in traces)


def test_closed_loop_never_has_more_in_flight_than_asked() -> None:
    with fake_endpoint(Script(first_s=0.05)) as server:
        traces, _ = load(server, Arrivals("closed", 3, None), limit=9)
    at_once = [
        sum(o.sent_ns < t.end_ns and o.end_ns > t.sent_ns for o in traces if o.sent_ns <= t.sent_ns) for t in traces
    ]
    assert max(at_once) == 3


def test_open_loop_sends_on_schedule_while_the_server_stalls() -> None:
    with fake_endpoint(Script(first_s=1.0)) as server:
        traces, _ = load(server, Arrivals("constant", None, 10.0), limit=5)
    assert [t.status for t in traces] == [Status.OK] * 5
    for trace in traces:
        assert trace.due_ns is not None
        assert 0 <= trace.sent_ns - trace.due_ns < 500_000_000  # sent long before the first answer (1 s)
        assert trace.chunk_ns[0] - trace.due_ns >= 1_000_000_000


def test_open_loop_cap_delays_sending_but_not_the_clock() -> None:
    with fake_endpoint(Script(first_s=0.3)) as server:
        traces, _ = load(server, Arrivals("constant", 1, 20.0), limit=3)
    last = traces[-1]
    assert last.due_ns is not None
    assert last.sent_ns - last.due_ns > 300_000_000, "the third had to wait for two answers of 0.3 s"


def test_load_ends_at_its_time_and_drains() -> None:
    with fake_endpoint(Script(first_s=0.3)) as server:
        traces, marks = load(server, CLOSED, limit=None, measure_s=1.0)
    assert marks["load_stop"] - marks["load_start"] == pytest.approx(1e9, rel=1e-3)
    assert all(t.status is Status.OK for t in traces)
    assert marks["drain_end"] > marks["load_stop"]


def test_answers_that_outlast_the_drain_are_cancelled() -> None:
    with fake_endpoint(Script(first_s=30)) as server:
        traces, _ = load(server, CLOSED, limit=2, measure_s=0.5, drain_s=0.2)
    assert [t.status for t in traces] == [Status.CANCELLED] * 2


@pytest.mark.parametrize(
    ("script", "status", "says"),
    [
        (Script(status=500, body="boom"), Status.HTTP_5XX, "HTTP 500: boom"),
        (Script(status=404, body="no such"), Status.HTTP_4XX, "HTTP 404: no such"),
        (Script(status=429, headers={"retry-after": "0"}, body="slow down"), Status.HTTP_429, "HTTP 429: slow down"),
        (Script(status=307, body=""), Status.HTTP_4XX, "HTTP 307"),
        (Script(cut_after=3), Status.STREAM_CUT, ""),
        (Script(finish=False), Status.STREAM_CUT, "without a finish_reason"),
        (Script(garble=True), Status.MALFORMED, "not JSON: b'{oops'"),
        (Script(hang=True), Status.TIMEOUT, "no end within 0.5 s"),
    ],
    ids=lambda value: value.value if isinstance(value, Status) else "",
)
def test_each_failure_has_its_class_and_its_words(script: Script, status: Status, says: str) -> None:
    with fake_endpoint(script) as server:
        traces, _ = load(server, Arrivals("closed", 1, None), limit=1, timeout_s=0.5)
    assert [t.status for t in traces] == [status]
    assert says in traces[0].error


def test_a_cut_stream_keeps_the_tokens_it_brought() -> None:
    with fake_endpoint(Script(cut_after=3)) as server:
        traces, _ = load(server, Arrivals("closed", 1, None), limit=1)
    assert len(traces[0].chunk_ns) == 3
    assert traces[0].output_tok is None


def test_a_server_that_quotes_the_key_does_not_get_it_into_the_evidence() -> None:
    with fake_endpoint(Script(key="right")) as server:
        traces, _ = load(server, Arrivals("closed", 1, None), limit=1, api_key="sk-secret-123")
    assert "sk-secret-123" not in traces[0].error
    assert "[api key]" in traces[0].error


def test_a_server_that_goes_away_ends_the_load() -> None:
    with fake_endpoint() as server:
        pass  # it is gone now; its port answers no more
    with pytest.raises(EndpointError, match="out of reach for") as caught:
        load(server, CLOSED, limit=None, measure_s=30, lost_after_s=1.0)
    assert caught.value.kind == "endpoint-lost"


def test_a_full_disk_stops_the_load() -> None:
    def full(event: dict[str, Any]) -> None:
        raise EvidenceError("disk full", "disk-full")

    plan = LoadPlan(CLOSED, WindowPlan(0, 0, 30, 5), None)
    with fake_endpoint() as server, pytest.raises(EvidenceError, match="disk full"):
        drive(requests(), endpoint(server), plan, SystemClock(), full, lambda name, t: None)


def test_tokens_have_their_times() -> None:
    with fake_endpoint(Script(first_s=0.2, gap_s=0.05)) as server:
        traces, _ = load(server, Arrivals("closed", 1, None), limit=1)
    trace: Trace = traces[0]
    assert trace.chunk_ns[0] - trace.sent_ns >= 200_000_000
    assert trace.chunk_ns[-1] - trace.chunk_ns[0] >= 7 * 50_000_000


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    with fake_endpoint() as server:
        load(server, CLOSED)
    assert threading.active_count() <= before


def test_requests_that_the_cap_holds_back_to_the_end_are_told() -> None:
    """40 a second are due, the server answers 4 a second: most are never sent, and none may vanish."""
    with fake_endpoint(Script(first_s=0.5)) as server:
        traces, marks = load(server, Arrivals("constant", 2, 40.0), limit=None, measure_s=1.5, drain_s=2.0)
    assert [t.index for t in traces] == list(range(len(traces)))
    assert len(traces) >= 59
    never = [t for t in traces if t.status is Status.CANCELLED]
    assert len(never) >= 45
    assert all("never sent" in t.error and t.due_ns is not None for t in never)
    assert all(t.sent_ns <= marks["load_stop"] for t in traces if t.status is Status.OK)


def test_one_dropped_connection_does_not_make_a_talking_server_lost() -> None:
    with fake_endpoint(Script(gap_s=0.3)) as server:
        traces, _ = load(server, Arrivals("closed", 2, None), limit=2, lost_after_s=0.5)
    assert [t.status for t in traces] == [Status.OK] * 2


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        (b'{"object":"error","message":"out of memory"}', Status.MALFORMED),
        (b'{"choices":[{"delta":{},"finish_reason":"error"}]}', Status.MALFORMED),
        (b'{"choices":[{"delta":{},"finish_reason":5}]}', Status.MALFORMED),
        (b'{"choices":[],"usage":{"completion_tokens":100000000000000000000}}', Status.MALFORMED),
        (b"[" * 100_000, Status.MALFORMED),
    ],
)
def test_a_payload_that_says_it_failed_is_no_answer(payload: bytes, status: Status) -> None:
    with fake_endpoint(Script(extra=payload)) as server:
        traces, _ = load(server, Arrivals("closed", 1, None), limit=1)
    assert [t.status for t in traces] == [status]


def test_half_a_surrogate_pair_can_be_written_down() -> None:
    payload = b'{"choices":[{"delta":{"content":"\\ud83d"},"finish_reason":null}]}'
    with fake_endpoint(Script(extra=payload)) as server:
        traces, _ = load(server, Arrivals("closed", 1, None), limit=1)
    assert traces[0].text.endswith("?")
    traces[0].text.encode()
