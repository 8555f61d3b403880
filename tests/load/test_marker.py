"""The load marker against a real server on loopback."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import count, pairwise
from typing import Any

import pytest

from tcabench.clock import SystemClock
from tcabench.errors import EvidenceError, Interrupted
from tcabench.load import Endpoint, fold, play_marker
from tcabench.load.marker import end_ns
from tcabench.load.transport import Answer
from tcabench.records import Message, Request, Status
from tcabench.testing import FakeEndpoint, Script, fake_endpoint

CHIP_S = 0.2
CHIPS = (True, False, True, True, False)


def requests() -> Iterator[Request]:
    return (Request(i, f"p{i}", (Message("user", "Hi"),), 500, True, 0.0, 1, None) for i in count())


class Heard:
    """What a marker told: events of its requests, edges, phases."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.marks: list[tuple[str, int]] = []

    def mark(self, phase: str, t_ns: int) -> None:
        self.marks.append((phase, t_ns))

    @property
    def edges(self) -> list[tuple[int, bool]]:
        return [(e["t"], e["on"]) for e in self.events if e.get("event") == "marker_chip"]

    @property
    def traces(self):
        return fold([e for e in self.events if "e" in e], 0)


def endpoint(server: FakeEndpoint) -> Endpoint:
    return Endpoint(server.url, "fake-model", "chat", 10.0)


def play(server: FakeEndpoint, chips: Sequence[bool] = CHIPS, concurrency: int = 3) -> Heard:
    heard = Heard()
    play_marker(
        requests(), endpoint(server), chips, CHIP_S, concurrency, SystemClock(), heard.events.append, heard.mark
    )
    return heard


def test_the_edges_stand_where_load_begins_and_ends() -> None:
    with fake_endpoint(Script(gap_s=0.01)) as server:
        heard = play(server)
    assert [on for _, on in heard.edges] == [True, False, True, False]
    assert [name for name, _ in heard.marks] == ["marker_start", "marker_end"]
    start, end = (t for _, t in heard.marks)
    times = [start, *(t for t, _ in heard.edges), end]
    assert all(a <= b for a, b in pairwise(times))
    assert end - start >= len(CHIPS) * CHIP_S * 1e9 - 1e6


def test_requests_are_in_flight_while_a_chip_is_on_and_only_then() -> None:
    with fake_endpoint(Script(gap_s=0.01)) as server:
        heard = play(server)
    (on1, _), (off1, _), (on2, _), (off2, _) = heard.edges
    assert len(heard.traces) == 6, "three in each stretch of load, none ends by itself"
    for trace in heard.traces:
        assert trace.status is Status.CANCELLED
        assert on1 <= trace.sent_ns <= off1 or on2 <= trace.sent_ns <= off2
        assert not off1 < trace.sent_ns < on2
    first = [trace for trace in heard.traces if trace.sent_ns < off1]
    assert all(trace.end_ns < on2 for trace in first), "all are given up before the next stretch begins"


def test_slots_are_filled_again_as_answers_end() -> None:
    with fake_endpoint(Script(tokens=2, gap_s=0.01)) as server:
        heard = play(server, concurrency=2)
    done = [trace for trace in heard.traces if trace.status is Status.OK]
    assert len(done) > 4
    at_once = [sum(o.sent_ns <= t.sent_ns < o.end_ns for o in heard.traces) for t in heard.traces]
    assert max(at_once) <= 2


def test_a_server_that_is_gone_or_refuses_does_not_end_the_marker() -> None:
    with fake_endpoint(Script(status=500)) as server:
        refused = play(server)
    gone = play(server)
    assert {trace.status for trace in refused.traces} == {Status.HTTP_5XX}
    assert {trace.status for trace in gone.traces} <= {Status.UNREACHABLE, Status.CANCELLED}
    for heard in (refused, gone):
        assert [on for _, on in heard.edges] == [True, False, True, False]
        assert len(heard.traces) <= 12, "a server that fails is not hammered"


def test_a_full_disk_ends_the_marker() -> None:
    def full(event: dict[str, Any]) -> None:
        if event.get("e") == "chunk":
            raise EvidenceError("disk full", "disk-full")

    heard = Heard()
    with fake_endpoint() as server, pytest.raises(EvidenceError, match="disk full"):
        play_marker(requests(), endpoint(server), (True,) * 200, 1.0, 1, SystemClock(), full, heard.mark)
    assert [name for name, _ in heard.marks] == ["marker_start", "marker_end"]


def test_ctrl_c_ends_the_marker_in_good_order() -> None:
    heard = Heard()

    def interrupts(event: dict[str, Any]) -> None:
        heard.events.append(event)
        if event.get("e") == "chunk" and sum(e.get("e") == "chunk" for e in heard.events) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with fake_endpoint(Script(gap_s=0.01)) as server, pytest.raises(Interrupted, match="while the marker ran"):
        play_marker(requests(), endpoint(server), (True,) * 200, 1.0, 2, SystemClock(), interrupts, heard.mark)
    assert [on for _, on in heard.edges] == [True, False]
    assert all(trace.status is Status.CANCELLED for trace in heard.traces)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    with fake_endpoint() as server:
        play(server)
    assert threading.active_count() <= before


def test_chips_end_a_little_off_their_even_places_but_the_marker_on_time() -> None:
    ends = [end_ns(place, 16, 4_000_000_000) for place in range(16)]
    assert ends[-1] == 64_000_000_000
    off = [end - (place + 1) * 4_000_000_000 for place, end in enumerate(ends[:-1])]
    assert all(abs(ns) <= 500_000_000 for ns in off)
    phases = sorted(end % 1_000_000_000 for end in ends)
    around = [*phases, phases[0] + 1_000_000_000]
    assert max(b - a for a, b in pairwise(around)) < 150_000_000, "a meter that reads each second sees all of it"


def test_a_slot_whose_cancellation_is_lost_stops_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio.wait_for of Python 3.11 drops a cancellation that comes as its task ends."""

    async def deaf(*_: Any) -> Answer:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return Answer()

    monkeypatch.setattr("tcabench.load.marker.exchange", deaf)
    with fake_endpoint() as server:
        heard = play(server, concurrency=2)
    assert [on for _, on in heard.edges] == [True, False, True, False]
