"""When requests are due: seconds from the start of load, endless, rising, the same on every machine.

Only `random.Random.random()` is used, the one method whose sequence Python promises to keep, and no logarithm, whose
last digit depends on the C library.
"""

from collections.abc import Iterator
from itertools import count, repeat
from random import Random

from tcabench.errors import UsageError
from tcabench.records import Arrivals


def offsets(arrivals: Arrivals, seed: int) -> Iterator[float | None]:
    """Due times in s, without end; None for each request of a closed loop, which is due when another has ended.

    raises: UsageError for an unknown kind, a closed loop without concurrency or an open one without a rate.
    """
    if arrivals.concurrency is not None and arrivals.concurrency < 1:
        raise UsageError(f"arrivals: concurrency {arrivals.concurrency}; it must be at least 1")
    if arrivals.kind == "closed":
        if arrivals.concurrency is None:
            raise UsageError("arrivals: a closed loop needs a concurrency, e.g. 8")
        return repeat(None)
    if arrivals.kind not in ("constant", "poisson"):
        raise UsageError(f"arrivals: unknown kind {arrivals.kind!r}; known: closed, constant, poisson")
    rate = arrivals.rate_per_s
    if rate is None or not 0 < rate < float("inf"):
        raise UsageError(f"arrivals: {arrivals.kind} needs a rate above 0 requests per second, not {rate}")
    return constant(rate) if arrivals.kind == "constant" else poisson(rate, seed)


def constant(rate_per_s: float) -> Iterator[float]:
    """0, 1/rate, 2/rate … in s; computed from the index, so that rounding does not add up."""
    return (i / rate_per_s for i in count())


def poisson(rate_per_s: float, seed: int) -> Iterator[float]:
    """Instants in s of a Poisson process of mean `rate_per_s`: independent exponential gaps, the first one included."""
    rng = Random(seed)
    due_s = 0.0
    while True:
        due_s += standard_exponential(rng) / rate_per_s
        yield due_s


def standard_exponential(rng: Random) -> float:
    """One draw of the exponential distribution of mean 1, by comparing uniform numbers only.

    The run of falling numbers from the first one, x, has odd length with probability exp(-x); an even run adds 1 and
    starts over. source: J. von Neumann, Various techniques used in connection with random digits, NBS AMS 12 (1951).
    """
    whole = 0
    while True:
        first = last = rng.random()
        odd = True
        while (drawn := rng.random()) < last:
            last, odd = drawn, not odd
        if odd:
            return whole + first
        whole += 1
