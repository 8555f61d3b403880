"""The uncertainty budget of an energy, after the GUM (JCGM 100): relative half widths, k = 2, down and up apart.

A limit without a distribution is taken as rectangular: u = limit/sqrt(3), expanded U = 2u.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import fsum, inf, sqrt

from tcabench.energy.counter import Edges, known_at_ns, rates_near, span_at_ns, usual_ns
from tcabench.energy.sampling import student
from tcabench.energy.series import Series
from tcabench.records import Alignment, Channel, Component, Quantity

GAIN, RESOLUTION, EDGES, ALIGNMENT, CLOCK = "meter class", "resolution", "window edges", "alignment", "clock"
RESIDUAL, PAUSE = "counter against integral", "pause of the counter"
# One cause behind all meters: the parts of the domains add up. The rest is independent from domain to domain. Boards
# of one kind may well share a gain error, so no credit is taken for their number.
SHARED = (GAIN, CLOCK)
CLOCK_RATE = 0.0005  # CLOCK_MONOTONIC may be slewed by up to 500 ppm: adjtimex(2)
FEWEST_RATES, FEWEST_RISES = 3, 3
LATE = 1.5  # usual spacings after which a step is overdue
LARGEST_DOWN = 0.99  # an energy that was metered is more than nothing


def gain(channel: Channel) -> Component:
    """The meter's class or certificate: the true value lies in [reading * gain_low, reading * gain_high]."""
    source = channel.accuracy_source
    if channel.certificate:
        source += f"; certificate {channel.certificate} of {channel.calibrated_on}, due {channel.certificate_due}"
    return Component(GAIN, 1 - channel.gain_low, channel.gain_high - 1, source)


def last_digit_w(channel: Channel, span_ns: int, energy_j: float) -> Component:
    """The last digit r of a power reading, the same in all readings at worst. Nobody says whether it is rounded (the
    truth within r/2 either way) or cut off (up to r above): the limits are r/2 down and r up."""
    limit_rel = channel.resolution * span_ns / 1e9 / energy_j
    down, up = limit_rel / sqrt(3), 2 * limit_rel / sqrt(3)
    return Component(RESOLUTION, down, up, f"last digit {channel.resolution:g} W, rounded or cut off")


def last_digit_j(channel: Channel, steps: Edges, start_ns: int, end_ns: int, energy_j: float) -> Component:
    """The last digit r of a counter at both ends: u = r/sqrt(6) for their difference. A counter that takes more than
    one update per digit shows it from the update in which it was reached: r is then what one update counts, and how
    long before the reading that update was is in `counter_edges`."""
    digit_j = shown_j(channel, steps)
    update_j = energy_j * channel.update_ns / (end_ns - start_ns)
    told_j = min(digit_j, update_j) if channel.update_ns else digit_j
    half = 2 * told_j / sqrt(6) / energy_j
    return Component(RESOLUTION, half, half, f"last digit {digit_j:.6g} J at both ends, told to {told_j:.4g} J")


def shown_j(channel: Channel, steps: Edges) -> float:
    """The last digit of a counter in J: as stated, or what its rises show where that is more."""
    return max(channel.resolution, _quantum_j(steps, channel.resolution))


def _quantum_j(steps: Edges, finest_j: float) -> float:
    """What all rises are whole multiples of (Euclid's algorithm), where it is more than the digit that is stated: of a
    counter kept in float32, say. 0 where there is no such thing, or too few different rises to tell."""
    rises = {steps.j[i + 1] - steps.j[i] for i in range(len(steps.j) - 1)}
    if len(rises) < FEWEST_RISES or not all(0 < rise < inf for rise in rises):
        return 0.0
    common, close = 0.0, max(finest_j, 1e-9 * steps.j[-1]) / 2
    for rise in sorted(rises):
        while rise > close:
            common, rise = rise, common % rise
            rise = 0.0 if common - rise < close else rise
        if common <= finest_j:
            return 0.0
    return common


def counter_edges(steps: Edges, start_ns: int, end_ns: int, energy_j: float) -> Component:
    """What lies between two steps at each end of the window, and how well the instants of the steps are known:
    u^2 = shape^2 + (P*t)^2/12 for each end, t being the span in which the step is known to have come."""
    mean_w = energy_j / (end_ns - start_ns)
    ends_j2 = [_end_j2(steps, at_ns, mean_w) for at_ns in (start_ns, end_ns)]
    half = 2 * sqrt(fsum(ends_j2)) / energy_j
    spans_ns = [span_at_ns(steps, at_ns) for at_ns in (start_ns, end_ns)]
    return Component(EDGES, half, half, f"steps {max(spans_ns) / 1e6:.0f} ms apart at the window's ends")


def pause(not_made_up_j: float, energy_j: float) -> Component | None:
    """What a counter that paused did not make up for: the interval reaches up to it. None where that is nothing."""
    if not_made_up_j <= 0:
        return None
    why = f"it stood still and made up for all but {not_made_up_j:.6g} J of what was expected"
    return Component(PAUSE, 0.0, not_made_up_j / energy_j, why)


def _end_j2(steps: Edges, at_ns: int, mean: float) -> float:
    """Variance in J^2 of a counter at an instant. `mean` rate in J per ns.

    The rates of the five spans nearest by spread by s, less what the doubt about the instants of steps makes of it.
    At x within a span T the straight line is off by s*sqrt(x*(T - x)) (a bridge between its ends); at d beyond the last
    step by s*sqrt(d*(T + d)). Fewer than three rates tell nothing, and neither do they where the next step is overdue:
    the whole energy may lie anywhere in the span.
    """
    rates, span_ns, known_ns = rates_near(steps, at_ns), span_at_ns(steps, at_ns), known_at_ns(steps, at_ns)
    highest = max(*rates, mean)
    instant_j, shape_j = highest * known_ns / sqrt(12), highest * span_ns / sqrt(12)
    if len(rates) >= FEWEST_RATES:
        usual, after = usual_ns(steps), bisect_right(steps.t_ns, at_ns)
        timing = highest * known_ns / usual / sqrt(6)
        spread = student(len(rates) - 1) / 2 * sqrt(max(0.0, _variance(rates) - timing * timing))
        if 0 < after < len(steps.t_ns):
            since_ns = at_ns - steps.t_ns[after - 1]
            shape_j = min(shape_j, spread * sqrt(since_ns * (span_ns - since_ns)))
        elif span_ns <= 2 * LATE * usual:
            shape_j = spread * sqrt(span_ns / 2 * (usual + span_ns / 2))
    return shape_j * shape_j + instant_j * instant_j


def _variance(values: Sequence[float]) -> float:
    mean = fsum(values) / len(values)
    return fsum((value - mean) * (value - mean) for value in values) / (len(values) - 1)


def power_edges(
    channel: Channel, power: Series, start_ns: int, end_ns: int, energy_j: float, *, delay_known: bool
) -> Component:
    """A reading is 0 to T old (T: update interval) and was put back by T/2: the window seen may still be shifted by T/2
    either way, which matters as far as power differs at its ends. A reading that is a mean over A smears a step at
    an end by up to A/8. U = 2 * limit/sqrt(3) * swing / energy. Where a load marker measured the delay, the swing
    within each end counts, no longer that between them."""
    old_ns = channel.update_ns or channel.period_ns
    swings = _swings_w(channel, power, start_ns, end_ns)
    swing_w = sqrt(fsum(w * w for w in swings)) if delay_known else _pooled_w(channel, power, start_ns, end_ns)
    limit_s = sqrt(old_ns * old_ns / 4 + channel.average_ns * channel.average_ns / 64) / 1e9
    half = 2 * limit_s / sqrt(3) * swing_w / energy_j
    return Component(EDGES, half, half, f"readings up to {old_ns / 1e6:.0f} ms old, {swing_w:.4g} W swing at the ends")


def alignment(found: Alignment | None, swing_w: float, energy_j: float) -> Component | None:
    """The meter's place on the run's clock, known to +-error (k = 2), as far as power differs at the window's ends.

    The source names the meter and nothing of the domain: parts with one source have one cause, and add up."""
    if found is None or not found.error_ns:
        return None
    half = found.error_ns / 1e9 * swing_w / energy_j
    return Component(ALIGNMENT, half, half, f"{found.meter}: {found.method}, +-{found.error_ns / 1e6:.3g} ms")


def counter_swing_w(steps: Edges, start_ns: int, end_ns: int) -> float:
    """How far the mean powers from step to step differ around the window's ends, in W."""
    rates = rates_near(steps, start_ns) + rates_near(steps, end_ns)
    return 1e9 * (max(rates) - min(rates))


def power_swing_w(channel: Channel, power: Series, start_ns: int, end_ns: int) -> float:
    """How far the readings around the window's ends differ, in W."""
    return _pooled_w(channel, power, start_ns, end_ns)


def clock(series: Series, start_ns: int, end_ns: int, moved_rel: float, *, rate: bool) -> Component:
    """The instants of the readings at both ends, each known to half its read call, as far as a shift moves energy:
    `moved_rel` of the mean power (all of it for a counter). With `rate` (an integral over time) also how fast the
    clock itself ran."""
    read_ns = max(_reads_around(series, start_ns) + _reads_around(series, end_ns), default=0)
    instant = moved_rel * read_ns / (end_ns - start_ns) * sqrt(2 / 3)
    pace = 2 * CLOCK_RATE / sqrt(3) if rate else 0.0
    half = sqrt(instant * instant + pace * pace)
    why = f"reads of {read_ns / 1e6:.1f} ms at the window's ends" + (
        ", clock rate +-500 ppm (adjtimex(2))" if rate else ""
    )
    return Component(CLOCK, half, half, why)


def disagreement(residual_rel: float, *, counted: bool = True) -> Component:
    """A counter and an integral that differ cannot both be right: the interval reaches out to the other one.

    `residual_rel` = counter/integral - 1; the value is the counter's if `counted`, else the integral's.
    """
    other_rel = 1 / (1 + residual_rel) - 1 if counted else residual_rel
    return Component(RESIDUAL, max(0.0, -other_rel), max(0.0, other_rel), f"counter/integral - 1 = {residual_rel:+.4f}")


def combined(components: Sequence[Component]) -> tuple[float, float]:
    """(down, up): relative half widths of all components in quadrature, each side by itself; down stays below 1."""
    down = sqrt(fsum(part.down_rel * part.down_rel for part in components))
    up = sqrt(fsum(part.up_rel * part.up_rel for part in components))
    return min(down, LARGEST_DOWN), up


def quantity(value: float, components: Sequence[Component], unit: str) -> Quantity:
    """`value` with the interval the components give it."""
    down, up = combined(components)
    return Quantity(value, value * (1 - down), value * (1 + up), unit)


def added(parts: Sequence[tuple[float, Sequence[Component]]]) -> tuple[Component, ...]:
    """The budget of a sum of energies (J, each with its own budget), relative to the sum."""
    total_j = fsum(energy_j for energy_j, _ in parts)
    names = dict.fromkeys(component.name for _, components in parts for component in components)
    return tuple(_added(name, parts, total_j) for name in names)


def _added(name: str, parts: Sequence[tuple[float, Sequence[Component]]], total_j: float) -> Component:
    ours = [(energy_j / total_j, part) for energy_j, components in parts for part in components if part.name == name]
    source = "; ".join(dict.fromkeys(part.source for _, part in ours))
    down = together(name, [(share * part.down_rel, part.source) for share, part in ours])
    up = together(name, [(share * part.up_rel, part.source) for share, part in ours])
    return Component(name, down, up, source)


def together(name: str, halves: Sequence[tuple[float, str]]) -> float:
    """Half widths of one component, each with its source, as one: linear where they share a cause, else in quadrature.

    Every meter's class and our clock do; alignments do where they are of one meter, which is where their source is
    the same."""
    if name in SHARED:
        return fsum(half for half, _ in halves)
    if name != ALIGNMENT:
        return sqrt(fsum(half * half for half, _ in halves))
    meters = dict.fromkeys(source for _, source in halves)
    sums = [fsum(half for half, source in halves if source == meter) for meter in meters]
    return sqrt(fsum(one * one for one in sums))


def _swings_w(channel: Channel, power: Series, start_ns: int, end_ns: int) -> tuple[float, float]:
    first, last = (_near_w(channel, power, at_ns) for at_ns in (start_ns, end_ns))
    return (max(first) - min(first) if first else 0.0, max(last) - min(last) if last else 0.0)


def _pooled_w(channel: Channel, power: Series, start_ns: int, end_ns: int) -> float:
    near = _near_w(channel, power, start_ns) + _near_w(channel, power, end_ns) or power.value
    return max(near) - min(near)


def _near_w(channel: Channel, power: Series, at_ns: int) -> tuple[float, ...]:
    near_ns = 2 * max(channel.update_ns, channel.period_ns, channel.average_ns)
    return power.value[bisect_left(power.t_ns, at_ns - near_ns) : bisect_right(power.t_ns, at_ns + near_ns)]


def _reads_around(series: Series, t_ns: int) -> tuple[int, ...]:
    after = bisect_right(series.t_ns, t_ns)
    return series.read_ns[max(0, after - 1) : after + 1]
