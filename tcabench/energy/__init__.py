"""Turns samples into the energy of the window, with its interval, its budget and the grade the evidence earns.

Standard library only, sums through `math.fsum`, no functions but sqrt: a verifier elsewhere gets the same digits.
"""

from collections.abc import Callable, Iterable, Sequence

from tcabench.energy.boundary import BOUNDARIES, check_boundary
from tcabench.energy.domain import Track
from tcabench.energy.grade import grade_of_channel
from tcabench.energy.idle import Idle, idle
from tcabench.energy.ladder import Ladder, Step, ladder, rungs
from tcabench.energy.level import Level, mean_power, nothing_there
from tcabench.energy.series import by_channel
from tcabench.energy.trapezoid import peak_w
from tcabench.records import (
    Carbon,
    Channel,
    Context,
    DomainEnergy,
    Energy,
    NotMetered,
    PowerSample,
    Quantity,
    Split,
    Value,
    Window,
)
from tcabench.units import seconds

__all__ = ["BLOCKS", "BOUNDARIES", "grade_of_channel", "integrate"]

BLOCKS = 12
ALONE = Context()
Samples = Iterable[PowerSample]


def integrate(
    channels: Sequence[Channel], samples: Samples, window: Window, boundary: str, context: Context = ALONE
) -> Energy:
    """Energy in J over [window.start_ns, window.end_ns) of everything metered at `boundary`, and what follows from it.

    Each domain counts once, by its energy counter or by the integral of its power, whichever is known better over this
    window. The total is NotMetered as soon as one domain inside is. `mean_power`, `peak_power`, `idle_power` are in W;
    `block_j` holds the energy of 12 equal blocks of the window (empty without a total). `samples` are on the run's
    clock, as `context.alignments` say they were put there.

    raises: UsageError for a boundary that does not exist, or a site that makes no sense.
    """
    check_boundary(boundary)
    found = ladder(channels, by_channel(samples), window, context)
    step = found.at(boundary) or _nothing(channels, boundary, window)
    total, part_j, resting = step.total, _parts(found, step), _idle(step.level, window, boundary)
    return Energy(
        boundary=boundary,
        total=total,
        mean_power=mean_power(total, seconds(window.end_ns - window.start_ns)),
        peak_power=_peak_power(step.level, window),
        idle_power=resting.power,
        domains=_domains(found, step, window),
        components=step.components,
        grade=step.grade,
        grade_why=step.why,
        block_j=_blocks_j(part_j, window) if part_j else (),
        idle_before=resting.before,
        idle_after=resting.after,
        dynamic=resting.dynamic,
        ladder=rungs(found, window),
        split=_split(context, part_j, total, window),
        facility=found.facility,
        carbon=_carbon(boundary, total, window, context, part_j),
        alignments=context.alignments,
        health=context.health,
    )


def _nothing(channels: Sequence[Channel], boundary: str, window: Window) -> Step:
    why = "the window is empty" if window.start_ns >= window.end_ns else nothing_there(channels, boundary)
    return Step(boundary, NotMetered(why), (), None, None)


def _parts(found: Ladder, step: Step) -> Callable[[int, int], float] | None:
    """Energy in J of a part of the window: of a facility, the part of the outermost level, in proportion. None without
    a total."""
    within = step if step.level else found.outermost()
    if isinstance(step.total, NotMetered) or within is None or isinstance(within.total, NotMetered):
        return None
    measured, whole_j, own_j = within.level, step.total.value, within.total.value
    if measured is None:
        return None
    if within is step:
        return measured.part_j
    return lambda start_ns, end_ns: measured.part_j(start_ns, end_ns) * (whole_j / own_j)


def _domains(found: Ladder, step: Step, window: Window) -> tuple[DomainEnergy, ...]:
    within = step if step.level else found.outermost()
    return within.level.records(window) if within and within.level else ()


def _idle(measured: Level | None, window: Window, boundary: str) -> Idle:
    if measured is not None:
        return idle(measured, window)
    none = NotMetered(f"nothing at boundary {boundary!r} was metered at rest")
    return Idle(none, none, none, none)


def _peak_power(measured: Level | None, window: Window) -> Value:
    """The highest power any reading shows; what happened between two readings may have been higher."""
    tracks: Sequence[Track] = measured.tracks if measured else ()
    powers = [track.power for track in tracks if track.power is not None]
    if measured is None or not tracks or len(powers) < len(tracks):
        without = ", ".join(track.name for track in tracks if track.power is None)
        return NotMetered(f"no power readings of {without}" if without else "no meter at this boundary")
    peak = peak_w([power.series for power in powers], window.start_ns, window.end_ns)
    if peak is None:
        return NotMetered("no power reading within the window for at least one domain")
    low = min(power.channel.gain_low for power in powers)
    high = max(power.channel.gain_high for power in powers)
    rest = measured.rest
    rest_w, up, down = rest.base_w + rest.slope * peak, 1 + rest.half_rel, 1 - rest.half_rel
    return Quantity(peak + rest_w, peak * low + rest_w * down, peak * high + rest_w * up, "W")


def _blocks_j(part_j: Callable[[int, int], float], window: Window) -> tuple[float, ...]:
    span_ns = window.end_ns - window.start_ns
    ends_ns = [window.start_ns + span_ns * block // BLOCKS for block in range(BLOCKS + 1)]
    return tuple(part_j(ends_ns[block], ends_ns[block + 1]) for block in range(BLOCKS))


def _split(context: Context, part_j: Callable[[int, int], float] | None, total: Value, window: Window) -> Split | None:
    """By prefill and decode, where the requests are known."""
    from tcabench.energy.attribute import split

    return split(context.traces, part_j or (lambda start_ns, end_ns: 0.0), total, window) if context.traces else None


def _carbon(
    boundary: str, total: Value, window: Window, context: Context, part_j: Callable[[int, int], float] | None
) -> Carbon | None:
    from tcabench.energy.carbon import emissions

    return emissions(boundary, total, window, context, part_j)
