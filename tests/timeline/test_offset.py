"""What comparisons of two clocks tell of the one that is not ours."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcabench.timeline.offset import Exchange, Jump, Lead, device_lead, exchanges, first_jump, wall_clock
from tests.timeline.played_load import Load, S, anchor, ns

WINDOW = Load().window()


def compared(
    t_s: float, lead_s: float, resolution_s: float = 0.001, way_s: float = 0.002, share: float = 0.5
) -> Exchange:
    """A comparison at `t_s` whose way there took `share` of `way_s` in all."""
    before, after = ns(t_s), ns(t_s + way_s)
    true = ns(t_s + way_s * share) + round(lead_s * S)
    resolution = round(resolution_s * S)
    device = true // resolution * resolution
    event = {
        "event": "clock_exchange", "meter": "pdu", "before_ns": before, "after_ns": after, "device_ns": str(device),
        "resolution_ns": resolution,
    }  # fmt: skip
    return exchanges([event], "pdu")[0]


@given(st.floats(-5, 5), st.floats(0, 1), st.sampled_from([0.001, 0.1, 1.0]), st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_the_lead_lies_within_its_limit_wherever_the_way_took_its_time(
    lead_s: float, share: float, resolution_s: float, seed: int
) -> None:
    rng = random.Random(seed)
    some = [compared(t + rng.random(), lead_s, resolution_s, 0.01, share) for t in range(0, 110, 10)]
    found = device_lead(some, WINDOW)
    assert isinstance(found, Lead)
    assert abs(found.ns - lead_s * S) <= found.limit_ns + 1


def test_many_readings_of_a_coarse_clock_are_better_than_one() -> None:
    rng = random.Random(1)
    one = device_lead([compared(50, 0.4, 1.0)], WINDOW)
    many = device_lead([compared(t + rng.random(), 0.4, 1.0) for t in range(0, 120, 2)], WINDOW)
    assert isinstance(one, Lead)
    assert isinstance(many, Lead)
    assert one.limit_ns > S // 2
    assert many.limit_ns < S // 5
    assert abs(many.ns - 0.4 * S) <= many.limit_ns


def test_a_clock_that_drifts_is_bounded_at_both_ends_of_the_window() -> None:
    found = device_lead([compared(t, 0.2 + 1e-4 * t) for t in range(0, 110, 10)], WINDOW)
    assert isinstance(found, Lead)
    for t_ns in (WINDOW.start_ns, WINDOW.end_ns):
        true_ns = 0.2 * S + 1e-4 * (t_ns - ns(0))
        assert abs(found.ns - true_ns) <= found.limit_ns


@pytest.mark.parametrize("by_s", [5.0, -5.0, 2.1])
def test_a_clock_that_was_set_is_found_out(by_s: float) -> None:
    some = [compared(t, 0.2 + (by_s if t > 60 else 0), 1.0) for t in range(0, 110, 10)]
    found = device_lead(some, WINDOW)
    assert isinstance(found, Jump)
    assert found.t_ns == pytest.approx(ns(70), abs=S)
    assert found.by_ns == pytest.approx(by_s * S, abs=S)


@pytest.mark.parametrize("by_s", [1.3, -0.7, 0.4])
def test_a_clock_that_was_set_by_too_little_to_show_is_within_the_limit_before_and_after(by_s: float) -> None:
    some = [compared(t, 0.2 + (by_s if t > 55 else 0), 1.0) for t in range(0, 110, 10)]
    found = device_lead(some, WINDOW)
    assert isinstance(found, Lead)
    for lead_s in (0.2, 0.2 + by_s):
        assert abs(found.ns - lead_s * S) <= found.limit_ns


def test_drift_alone_is_no_jump() -> None:
    assert first_jump([compared(t, 4.9e-4 * t) for t in range(0, 110, 10)]) is None
    assert first_jump([compared(t, 2e-3 * t) for t in range(0, 110, 10)]) is not None


def test_only_that_meters_exchanges_count() -> None:
    event: dict[str, Any] = {"before_ns": 5, "after_ns": 7, "device_ns": "100", "resolution_ns": 10}
    events = [{"event": "clock_exchange", "meter": name, **event} for name in ("pdu", "other")]
    assert exchanges(events, "pdu") == (Exchange(6, 93, 105, 10),)
    assert exchanges(events, "none") == ()


def test_the_hosts_wall_clock_is_read_from_its_anchors() -> None:
    assert wall_clock([]) is None
    one = wall_clock([anchor("wall_anchor", 0)])
    assert one is not None
    assert (one.step_ns, one.limit_ns) == (0, 2000)
    slewed = wall_clock([anchor("wall_anchor", 0), anchor("wall_anchor_end", 100, 20_000_000)])
    assert slewed is not None
    assert (slewed.step_ns, slewed.limit_ns) == (0, 20_002_000)
    stepped = wall_clock([anchor("wall_anchor", 0), anchor("wall_anchor_end", 100, 5 * S)])
    assert stepped is not None
    assert stepped.step_ns == 5 * S
