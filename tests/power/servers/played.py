"""A load that is played: watts over time from a function, and the energy counter that follows from it."""

import threading
import time
from collections.abc import Callable

STEP_S = 0.005
START_J = 3.6e9  # 1000 kWh: a meter that has been there for a while


class PlayedLoad:
    """`watts(t)` with t in s of time.monotonic() since this object was made. Its knobs turn from any thread."""

    def __init__(self, watts: Callable[[float], float]) -> None:
        self.began_s = time.monotonic()
        self._watts, self._lock = watts, threading.Lock()
        self._at_s, self._joules, self._frozen = 0.0, START_J, False

    @property
    def frozen(self) -> bool:
        return self._frozen

    @frozen.setter
    def frozen(self, is_frozen: bool) -> None:
        """Values stay as they are at this moment; the load itself goes on, and the counter has it all afterwards."""
        with self._lock:
            self._advance()
            self._frozen = is_frozen

    def reset_counter(self) -> None:
        """The energy counter starts again at 0."""
        with self._lock:
            self._advance()
            self._joules = 0.0

    def now(self) -> tuple[float, float]:
        """Watts, and the energy counter in joules."""
        with self._lock:
            self._advance()
            return self._watts(self._at_s), self._joules

    def _advance(self) -> None:
        if self._frozen:
            return
        now_s = time.monotonic() - self.began_s
        while self._at_s < now_s:
            step_s = min(STEP_S, now_s - self._at_s)
            self._joules += step_s * (self._watts(self._at_s) + self._watts(self._at_s + step_s)) / 2
            self._at_s += step_s
