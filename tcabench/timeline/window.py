"""Which part of a run counts: after the warm-up, until the load stops being offered."""

from collections.abc import Mapping, Sequence

from tcabench.errors import NotMeasured
from tcabench.records import Trace, Window, WindowPlan
from tcabench.units import nanoseconds, seconds

REACHED = ("idle_start", "idle_end", "load_start", "load_stop", "drain_end")  # without these there is no window
IDLE_AFTER = ("idle_after_start", "idle_after_end")
PHASES = (*REACHED, *IDLE_AFTER)
"""What every whole run marks, in this order. One that broke off while it drained or idled still has a window."""

OPTIONAL_PHASES = ("marker_start", "marker_end")
ORDER = (*REACHED[:2], *OPTIONAL_PHASES, *REACHED[2:], *IDLE_AFTER)
"""Every phase in its place: the load marker, where there is one, stands between idling and the load."""


def steady_window(traces: Sequence[Trace], marks: Mapping[str, int], plan: WindowPlan) -> Window:
    """The measuring window in ns of the run's clock: [load_start + warm-up, load_stop).

    `marks` are the phase instants that the run wrote down as it went. `load_stop` is the instant from which
    no further request was sent: until then every slot was busy (closed loop) or every arrival was served
    (open loop), after it the system drains, which is neither the load asked for nor idle. A run without an idle
    phase after the load, or broken off before its end, has equal ends there.

    raises: NotMeasured when a phase is missing, no answer came, or warm-up took the whole run.
    """
    missing = [name for name in REACHED if name not in marks]
    if missing:
        raise NotMeasured(f"the run did not reach {', '.join(missing)}: no window to measure over", "no-window")
    start, end = marks["load_start"] + nanoseconds(plan.warmup_s), marks["load_stop"]
    if end <= start:
        took = seconds(end - marks["load_start"])
        raise NotMeasured(
            f"the load lasted {took:.1f} s, no longer than the warm-up of {plan.warmup_s:g} s: "
            "measure longer or warm up less",
            "no-window",
        )
    if not any(trace.chunk_ns for trace in traces):
        raise NotMeasured("no request gave a single token", "no-tokens")
    planned = start + nanoseconds(plan.measure_s)
    why = "planned duration reached" if end >= planned else "load ended early: no more requests to send"
    drained = max(marks["drain_end"], end)
    idle_after_start, idle_after_end = _idle_after(marks, drained)
    return Window(
        idle_start_ns=marks["idle_start"],
        idle_end_ns=marks["idle_end"],
        load_start_ns=marks["load_start"],
        start_ns=start,
        end_ns=end,
        drain_end_ns=drained,
        why_end=why,
        idle_after_start_ns=idle_after_start,
        idle_after_end_ns=idle_after_end,
    )


def _idle_after(marks: Mapping[str, int], drained_ns: int) -> tuple[int, int]:
    """Start and end in ns of the idle phase after the load; twice the end of the drain where there was none."""
    start, end = (marks.get(name) for name in IDLE_AFTER)
    return (drained_ns, drained_ns) if start is None or end is None or end <= start else (start, end)
