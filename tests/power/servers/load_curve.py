"""A synthetic load for test servers: power as given, energy as its integral, asked for any moment."""

import math
from collections.abc import Callable

STEP_S = 0.001


class LoadCurve:
    """`watts` over seconds since the start. The energy is the midpoint sum over 1 ms, so spikes of 20 ms count."""

    def __init__(self, watts: Callable[[float], float]) -> None:
        self.watts = watts
        self._sums = [0.0]

    def joules(self, t_s: float) -> float:
        """Energy in J from the start to `t_s`."""
        whole = max(0, math.floor(t_s / STEP_S))
        while len(self._sums) <= whole:
            self._sums.append(self._sums[-1] + self.watts((len(self._sums) - 0.5) * STEP_S) * STEP_S)
        rest_s = max(0.0, t_s - whole * STEP_S)
        return self._sums[whole] + self.watts(whole * STEP_S + rest_s / 2) * rest_s

    def mean(self, start_s: float, end_s: float) -> float:
        """Mean power in W over the interval."""
        return (self.joules(end_s) - self.joules(start_s)) / (end_s - start_s)
