"""The pattern of the load marker."""

from itertools import pairwise

import pytest

from tcabench.timeline import chips
from tcabench.timeline.marker import TAPS, full_sequence, likeness, played_marker
from tests.timeline.played_load import Load, ns


@pytest.mark.parametrize("degree", sorted(TAPS))
def test_the_register_shows_every_pattern_once(degree: int) -> None:
    sequence = full_sequence(degree)
    assert len(sequence) == 2**degree == 2 * sum(sequence)
    patterns = {(sequence + sequence)[at : at + degree] for at in range(len(sequence))}
    assert len(patterns) == 2**degree


@pytest.mark.parametrize("n", [8, 9, 16, 20, 31, 64, 100, 256])
def test_a_marker_begins_with_load_ends_with_rest_and_is_balanced(n: int) -> None:
    for seed in range(8 if n < 64 else 1):
        pattern = chips(seed, n)
        assert len(pattern) == n
        assert pattern[0]
        assert not pattern[-1]
        assert abs(2 * sum(pattern) - n) <= n % 2


def test_a_seed_always_gives_the_same_pattern() -> None:
    assert chips(7) == chips(7)


def test_sixteen_chips_are_hardly_like_themselves_at_any_other_delay() -> None:
    assert max(likeness(chips(seed)) for seed in range(20)) <= 4
    assert likeness([True, False] * 8) == 15
    assert len({chips(seed) for seed in range(20)}) > 1


@pytest.mark.parametrize("n", [0, 7, 257])
def test_a_marker_too_short_or_too_long_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="a marker has 8 to 256 chips"):
        chips(0, n)


def test_the_journal_tells_how_the_marker_was_played() -> None:
    load = Load()
    found = played_marker(load.events())
    assert found == load.marker()
    assert [on for _, on in load.edges()] == [i % 2 == 0 for i in range(len(load.edges()))]
    assert all(a < b for (a, _), (b, _) in pairwise(load.edges()))


def test_a_marker_that_broke_off_is_none() -> None:
    events = [event for event in Load().events() if event.get("phase") != "marker_end"]
    assert played_marker(events) is None
    assert played_marker([{"event": "phase", "phase": "idle_start", "t": ns(0)}]) is None
