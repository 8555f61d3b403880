"""What meters say: channels, readings, and the readings of their clocks."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a channel measures; the value of each sample is in the unit after the colon."""

    POWER = "power"  # W
    ENERGY = "energy"  # J, a counter that only rises
    TEMPERATURE = "temperature"  # degC
    CLOCK = "clock"  # MHz
    POWER_LIMIT = "power_limit"  # W
    THROTTLE = "throttle"  # bit mask, meaning given by the meter
    UTILISATION = "utilisation"  # 0..1
    CPU_TIME = "cpu_time"  # s, a counter that only rises
    PROCESSES = "processes"  # 1, how many processes use the device
    FLOW = "flow"  # L/min
    HEAT = "heat"  # W, heat removed as the device itself says
    HEAT_ENERGY = "heat_energy"  # J, a counter that only rises
    WATER = "water"  # L, a counter that only rises
    APPARENT_POWER = "apparent_power"  # VA
    POWER_FACTOR = "power_factor"  # 1
    VOLTAGE = "voltage"  # V
    CURRENT = "current"  # A
    FREQUENCY = "frequency"  # Hz


class Role(StrEnum):
    """What the metered thing is to the system under test. Only LOAD counts towards a boundary's energy as it stands;
    the shared ones are allocated by a named rule."""

    LOAD = "load"  # the system under test, or a part of it
    IT = "it"  # all IT that shares the plant
    UPSTREAM = "upstream"  # what goes into the distribution (UPS, switchboard) that feeds all IT
    COOLING = "cooling"  # the electricity of the cooling plant, or of a part of it
    SITE = "site"  # the electricity of the whole site
    REUSE = "reuse"  # energy that is used again outside
    WATER = "water"  # water of the site
    SUPPLY = "supply"  # temperature of the coolant towards the IT; the domain names the loop
    RETURN = "return"  # temperature of the coolant on its way back
    FLOW = "flow"  # flow of that loop
    INFO = "info"  # shown, not computed with


class Instrument(StrEnum):
    """Whose reading it is: the evidence grade follows from it."""

    MODEL = "model"  # computed, not measured
    DEVICE = "device"  # an accelerator's own telemetry
    CPU = "cpu"  # a processor's own energy counters
    BMC = "bmc"  # a board management controller or a power supply's own figure
    METER = "meter"  # a power strip, sub-meter, heat meter or analyzer


@dataclass(frozen=True, slots=True)
class Channel:
    """One stream of samples and all that is needed to judge it. Saved in the evidence beside the samples.

    `domain` says what is measured ("gpu0", "host"); two channels of one domain and different `kind` see the
    same thing (a power reading and an energy counter) and are never added. `boundary` is "chip", "node",
    "rack" or "facility". `gain_low`/`gain_high`: the true value lies in [reading*gain_low, reading*gain_high]
    (k = 2) from the meter's own class. `update_ns` is the documented interval at which the reading changes
    (0: unknown), `average_ns` the time over which it is a mean (0: an instant, or unknown). `is_estimate` marks a
    model, not an instrument: such a channel never earns more than E0. `accuracy_source` names where the gain comes
    from.

    `inside` names the domain whose meter already holds this one's energy (a GPU in its module, "" for none).
    `class_pct`: the accuracy class in % of reading (0: none stated). `certificate` names the calibration certificate,
    `calibrated_on` and `certificate_due` are its ISO dates ("" without one). `has_own_clock`: samples carry the
    meter's own time-stamps. A counter with a `modulus` (in `unit`) starts again at 0 there; 0: not known to.
    """

    id: str
    meter: str
    domain: str
    kind: Kind
    unit: str
    boundary: str
    gain_low: float
    gain_high: float
    resolution: float
    update_ns: int
    period_ns: int
    is_estimate: bool
    accuracy_source: str
    note: str = ""
    role: Role = Role.LOAD
    instrument: Instrument = Instrument.DEVICE
    inside: str = ""
    average_ns: int = 0
    modulus: float = 0.0
    class_pct: float = 0.0
    certificate: str = ""
    calibrated_on: str = ""
    certificate_due: str = ""
    has_own_clock: bool = False


class Reading(NamedTuple):
    """What one read of a meter gives for a channel; `device_ns` is the meter's own stamp (Unix ns), if it has one."""

    channel: str
    value: float
    device_ns: int | None = None


class ClockReading(NamedTuple):
    """The present time by a meter's own clock: `device_ns` (Unix ns), cut down to multiples of `resolution_ns`."""

    device_ns: int
    resolution_ns: int


@dataclass(frozen=True, slots=True)
class PowerSample:
    """One reading of `channel`. `t_ns` is the middle of the read call, `read_ns` how long it took, both by our clock;
    `device_ns` is the meter's own stamp in Unix ns where `Channel.has_own_clock`."""

    t_ns: int
    read_ns: int
    channel: str
    value: float
    device_ns: int | None = None
