"""Exact unit factors, and the one way numbers are written down.

Numbers in evidence are decimal strings of 10 significant digits: a verifier on another machine
recomputes them from the same samples and compares the strings. That needs arithmetic that is
the same everywhere, so sums go through `math.fsum` (correctly rounded) and formulas keep to
+ - * / and sqrt, which IEEE 754 fixes to the last bit.
"""

J_PER_KWH = 3_600_000
NS_PER_S = 1_000_000_000
SIGNIFICANT_DIGITS = 10


def decimal(x: float) -> str:
    """`x` as a decimal string of 10 significant digits, e.g. `15000`, `0.06012345679`, `1.5e+09`.

    raises: ValueError for NaN and infinities, which are never a result.
    """
    if x != x or x in (float("inf"), float("-inf")):
        raise ValueError(f"{x} is not a number that can be reported")
    return format(x, f".{SIGNIFICANT_DIGITS}g")


def seconds(ns: int) -> float:
    """Nanoseconds as seconds."""
    return ns / NS_PER_S


def nanoseconds(s: float) -> int:
    """Seconds as whole nanoseconds."""
    return round(s * NS_PER_S)
