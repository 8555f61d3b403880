"""The load marker: a pseudo-random pattern of load and rest that every meter sees, each with its own delay.

A maximal-length shift-register sequence is as good as never like itself at another delay (Golomb, Shift Register
Sequences, 1967), so one minute of it tells one delay from every other. A flat load cannot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CHIPS, CHIP_S = 16, 4.0  # 64 s: long enough for meters that update every few seconds
FEWEST_CHIPS, MOST_CHIPS = 8, 256
# Powers of x in a primitive polynomial of each degree, beside the degree itself and 0 (Stahnke, Mathematics of
# Computation 27 (1973) 977, doi 10.2307/2005529).
TAPS = {3: (1,), 4: (1,), 5: (2,), 6: (1,), 7: (1,), 8: (6, 5, 1)}


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker as it was played: when the first chip began and the last ended, and each edge (instant in ns, on)."""

    start_ns: int
    end_ns: int
    edges: tuple[tuple[int, bool], ...]


def chips(seed: int, n: int = CHIPS) -> tuple[bool, ...]:
    """`n` chips, True: load. The first is load and the last is rest, so that the marker stands out from the idle time
    before it; as many of the one as of the other (one more where `n` is odd). The same for the same `seed`.

    Of all stretches of the register's sequence, read either way, that fit, `seed` picks among those that are least
    like themselves when shifted, or nearly so.

    raises: ValueError for fewer than 8 chips or more than 256.
    """
    if not FEWEST_CHIPS <= n <= MOST_CHIPS:
        raise ValueError(f"a marker has {FEWEST_CHIPS} to {MOST_CHIPS} chips, not {n}")
    sequence = full_sequence((n - 1).bit_length())
    stretches = [(way[at:] + way)[:n] for way in (sequence, sequence[::-1]) for at in range(len(way))]
    fitting = [one for one in stretches if one[0] and not one[-1] and abs(2 * sum(one) - n) <= n % 2]
    least = min(likeness(one) for one in fitting)
    best = [one for one in fitting if likeness(one) <= least + 1]
    return best[seed % len(best)]


def full_sequence(degree: int) -> tuple[bool, ...]:
    """One period of the shift register of `degree` bits, one rest put beside the longest run of them: 2^degree chips,
    half of them load, every pattern of `degree` chips in it once."""
    state, bits = [True] * degree, []
    for _ in range(2**degree - 1):
        bits.append(state[-1])
        fed = state[-1]
        for tap in TAPS[degree]:
            fed ^= state[degree - 1 - tap]
        state = [fed, *state[:-1]]
    longest = max(range(len(bits)), key=lambda at: _rests(bits, at))
    return (*bits[:longest], False, *bits[longest:])


def likeness(pattern: Sequence[bool]) -> int:
    """How much a pattern is like itself at the worst other delay, idle before and after it: 0 is not at all."""
    level = [1 if on else -1 for on in pattern]
    return max(abs(sum(a * b for a, b in zip(level, level[lag:], strict=False))) for lag in range(1, len(level)))


def played_marker(events: Sequence[Mapping[str, Any]]) -> Marker | None:
    """The marker that a run's events tell of, or None: there was none, or it broke off."""
    ends = {event["phase"]: event["t"] for event in events if event["event"] == "phase"}
    edges = tuple((event["t"], bool(event["on"])) for event in events if event["event"] == "marker_chip")
    start, end = ends.get("marker_start"), ends.get("marker_end")
    if start is None or end is None or end <= start or len(edges) < 2:
        return None
    return Marker(start, end, tuple(sorted(edges)))


def _rests(bits: Sequence[bool], at: int) -> int:
    """How many rests in a row begin at `at`, the sequence going round."""
    count = 0
    while count < len(bits) and not bits[(at + count) % len(bits)]:
        count += 1
    return count
