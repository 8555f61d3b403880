"""A load that is played from now on: watts over time from a function, and the energy counter that follows from it."""

import threading
import time
from collections.abc import Callable

from tests.power.servers.load_curve import LoadCurve

START_J = 3.6e9  # 1000 kWh: a meter that has been there for a while


class PlayedLoad:
    """`watts(t)` with t in s of time.monotonic() since `began_s`, when this was made; `curve` is the truth. Its knobs
    turn from any thread."""

    def __init__(self, watts: Callable[[float], float]) -> None:
        self.began_s, self.curve = time.monotonic(), LoadCurve(watts)
        self._lock, self._start_j = threading.Lock(), START_J
        self._stands_s: float | None = None

    @property
    def frozen(self) -> bool:
        return self._stands_s is not None

    @frozen.setter
    def frozen(self, is_frozen: bool) -> None:
        """Values stay as they are at this moment; the load itself goes on, and the counter has it all afterwards."""
        self._stands_s = self._now_s() if is_frozen else None

    def reset_counter(self) -> None:
        """The energy counter starts again at 0."""
        with self._lock:
            self._start_j = -self.curve.joules(self._now_s())

    def now(self) -> tuple[float, float]:
        """Watts, and the energy counter in joules."""
        with self._lock:
            at_s = self._now_s()
            return self.curve.watts(at_s), self._start_j + self.curve.joules(at_s)

    def _now_s(self) -> float:
        return time.monotonic() - self.began_s if self._stands_s is None else self._stands_s
