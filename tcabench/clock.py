"""Time: one monotonic clock in integer nanoseconds, and wall time once, as an anchor with its error."""

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """What the load generator and the samplers read. Tests pass `tcabench.testing.FakeClock`."""

    def now_ns(self) -> int:
        """Monotonic time in ns; the zero point means nothing."""
        ...

    def sleep(self, s: float) -> None:
        """Block the calling thread for `s` seconds."""
        ...


class SystemClock:
    """CLOCK_MONOTONIC of this machine; asyncio's event loop and `time.monotonic` read the same clock."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep(self, s: float) -> None:
        time.sleep(s)


@dataclass(frozen=True, slots=True)
class WallAnchor:
    """Wall time `wall_ns` (Unix epoch) at monotonic `mono_ns`, known to +-`error_ns`."""

    mono_ns: int
    wall_ns: int
    error_ns: int


def wall_anchor(rounds: int = 9) -> WallAnchor:
    """The tightest of `rounds` attempts to read both clocks at once; error is half the bracket, in ns."""
    best: WallAnchor | None = None
    for _ in range(rounds):
        before, wall, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        half = (after - before + 1) // 2
        if best is None or half < best.error_ns:
            best = WallAnchor(before + half, wall, half)
    if best is None:
        raise ValueError("wall_anchor needs at least one round")
    return best
