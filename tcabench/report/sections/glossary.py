"""The field's own words, in a line each."""

from typing import Any

from tcabench.report.sections import Section
from tcabench.report.view import GRADES, Facts

TERMS = (
    ("Boundary", "The line around what is metered: chip, node, rack or facility. Only like compares with like."),
    ("Clause", "One requirement of a policy, judged for itself."),
    ("Drain", "The time after the measuring window in which the last answers are awaited."),
    ("End to end (e2e)", "The time from asking to the end of the answer."),
    ("Evidence", "The raw readings and request journal of the run, with a manifest of digests, as one .tcab file."),
    ("Gap", "A stretch in which a meter gave no reading. It is shown and counted, never filled in silently."),
    ("Guard band", "A value passes with its whole interval inside the limit, fails with all of it outside."),
    ("Interval", "The range that holds the true value with about 95 % confidence (coverage factor k = 2)."),
    ("ITL", "Inter-token latency: the pause between two pieces of one answer."),
    ("J/token", "Joules inside the boundary over the window, divided by the output tokens of the same window."),
    ("kWh", "Kilowatt-hour: 3\u202f600\u202f000 joules."),
    ("Open and closed loop", "Open: requests go out on schedule. Closed: a fixed number is always in flight."),
    ("p50, p90, p99", "The value that 50, 90 or 99 of 100 requests do not exceed."),
    ("Residual", "Energy by counter over integrated power, minus one: how well two views of a domain agree."),
    ("Token", "The unit in which the model writes; here output tokens, as the server's usage counts them."),
    ("Tokens/kWh", "Output tokens for a kilowatt-hour: 3\u202f600\u202f000 divided by J/token."),
    ("TPOT", "Time per output token after the first."),
    ("TTFT", "Time to first token."),
    ("Warm-up", "Load that is not counted, until caches are filled and clocks settled."),
    ("Window", "The measuring window. Energy and tokens are counted over the same stretch of time."),
)


def build(facts: Facts) -> dict[str, Any]:
    return {"terms": TERMS, "grades": list(GRADES.items()), "grade": facts.result.get("grade")}


SECTION = Section("glossary", "Glossary", build)
