"""Power from processor time and a stated model: no instrument, grade E0, good to a factor of 3."""

import math
from dataclasses import dataclass

from tcabench.errors import MeterError, UsageError
from tcabench.power.meter import Fact, Meter
from tcabench.records import Channel, Instrument, Kind

PERIOD_NS = 200_000_000
# Mean of the server processors AWS runs on, per logical CPU, idle and at full load, from SPECpower_ssj2008 results:
# Cloud Carbon Footprint, methodology, "Compute" (single processor types: 0.45-1.9 W idle, 1.9-6 W busy).
IDLE_W, BUSY_W = 0.74, 3.5
SOURCE = "Cloud Carbon Footprint methodology, AWS averages from SPECpower_ssj2008: 0.74 W idle, 3.5 W busy per vCPU"
FORMULA = "P = n_cpu * (idle_w + (busy_w - idle_w) * busy share)"
FACTOR = 3.0


@dataclass(frozen=True, slots=True)
class PowerModel:
    """A straight line from `idle_w` to `busy_w`, both W per logical CPU, over the busy share of `n_cpu` CPUs."""

    n_cpu: int
    idle_w: float
    busy_w: float
    source: str

    def power_w(self, busy_share: float) -> float:
        """Power in W of all CPUs at `busy_share` (0..1)."""
        return self.n_cpu * (self.idle_w + (self.busy_w - self.idle_w) * busy_share)


class EstimateMeter:
    """CPU time of the whole machine (all processes, in s), and the power the model makes of it (W)."""

    name = "estimate"

    def __init__(self, model: PowerModel, chosen: str) -> None:
        self._model, self._chosen = model, chosen
        self._last: tuple[float, float] | None = None

    def channels(self) -> tuple[Channel, ...]:
        return (_cpu_time_channel(), _power_channel(self._model))

    def read(self) -> list[tuple[str, float]]:
        """Busy CPU time so far, and mean power since the call before; the first call has no power to give."""
        busy_s, total_s = cpu_time_s()
        values = [("estimate.host.cpu_time", busy_s)]
        if self._last is None or total_s < self._last[1]:
            self._last = busy_s, total_s
        elif total_s > self._last[1]:  # the kernel counts in ticks: without a new one there is no news
            # /proc/stat is documented to step back a little at times: hence the bounds
            share = min(1.0, max(0.0, (busy_s - self._last[0]) / (total_s - self._last[1])))
            values.append(("estimate.host.power", self._model.power_w(share)))
            self._last = busy_s, total_s
        return values

    def facts(self) -> dict[str, Fact]:
        model = self._model
        return {
            "chosen": {"value": self._chosen, "source": "tcabench"},
            "model": {"value": FORMULA, "source": "tcabench"},
            "cpu_count": {"value": model.n_cpu, "source": "psutil.cpu_count(logical=True)"},
            "idle_w_per_cpu": {"value": model.idle_w, "source": model.source},
            "busy_w_per_cpu": {"value": model.busy_w, "source": model.source},
        }

    def close(self) -> None:
        """Nothing is held open."""


def open_estimate(argument: str, chosen: str = "named") -> list[Meter]:
    """The estimate, with `idle=W,busy=W` per logical CPU in place of the defaults.

    raises: UsageError for anything else in `argument`; MeterError where processor time cannot be read.
    """
    import psutil

    given = _parse(argument)
    idle_w, busy_w = given.get("idle", IDLE_W), given.get("busy", BUSY_W)
    if not 0 <= idle_w < busy_w:
        raise UsageError(
            f"estimate: idle={idle_w:g} W must be at least 0 and below busy={busy_w:g} W", "meter-argument"
        )
    source = f"given: estimate:{argument}" if given else SOURCE
    cpu_time_s()
    return [EstimateMeter(PowerModel(psutil.cpu_count(logical=True) or 1, idle_w, busy_w, source), chosen)]


def cpu_time_s() -> tuple[float, float]:
    """(busy, total) time in s summed over all CPUs since boot.

    Busy is user, nice, system, irq and softirq. Time stolen by a hypervisor ran on behalf of others and waiting
    for I/O leaves the processor free: both count in the total alone. Source: proc_stat(5).

    raises: MeterError where the system does not say.
    """
    import psutil

    try:
        times = psutil.cpu_times()
    except (OSError, RuntimeError) as err:
        raise MeterError(f"processor time cannot be read: {err}. Is /proc mounted?", "cpu-time") from err
    busy = math.fsum(getattr(times, part, 0.0) for part in ("user", "nice", "system", "irq", "softirq"))
    return busy, math.fsum((busy, times.idle, getattr(times, "iowait", 0.0), getattr(times, "steal", 0.0)))


def _parse(argument: str) -> dict[str, float]:
    given: dict[str, float] = {}
    for part in filter(None, argument.split(",")):
        key, _, text = part.partition("=")
        try:
            given[key] = float(text)
        except ValueError:
            given[key] = math.nan
        if key not in ("idle", "busy") or not math.isfinite(given[key]):
            raise UsageError(
                f"estimate: {part!r} is not idle=W or busy=W, as in estimate:idle=1.5,busy=5", "meter-argument"
            )
    return given


def _power_channel(model: PowerModel) -> Channel:
    return Channel(
        id="estimate.host.power",
        meter="estimate",
        domain="host",
        kind=Kind.POWER,
        unit="W",
        boundary="chip",
        gain_low=1 / FACTOR,
        gain_high=FACTOR,
        resolution=0.0,
        update_ns=PERIOD_NS,  # each value is the mean since the reading before
        period_ns=PERIOD_NS,
        is_estimate=True,
        accuracy_source=f"stated, not measured: a factor of {FACTOR:g} either way (processors differ that much)",
        note=f"{FORMULA}, n_cpu={model.n_cpu}, idle_w={model.idle_w:g}, busy_w={model.busy_w:g} ({model.source}). "
        "Boundary chip: the model knows processor time alone, nothing of memory, disks, fans, power supply or "
        "accelerators. The whole machine is counted, other programs too.",
        instrument=Instrument.MODEL,
    )


def _cpu_time_channel() -> Channel:
    return Channel(
        id="estimate.host.cpu_time",
        meter="estimate",
        domain="host",
        kind=Kind.CPU_TIME,
        unit="s",
        boundary="chip",
        gain_low=1.0,
        gain_high=1.0,
        resolution=0.01,
        update_ns=10_000_000,
        period_ns=PERIOD_NS,
        is_estimate=False,
        accuracy_source="proc_stat(5): counted in ticks of 1/100 s",
        note="user + nice + system + irq + softirq of all CPUs since boot; what the power model is fed with",
        instrument=Instrument.MODEL,
    )
