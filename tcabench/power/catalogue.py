"""What can be metered with: the meters known by name, in a line each, and whether the local ones can be read here."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from tcabench.errors import MeterError, PluginError
from tcabench.power.meter import METERS


@dataclass(frozen=True, slots=True)
class Known:
    """A meter by name: what it reads, an address as an example, and whether it is on this machine ("local"), on the
    network or in a file."""

    what: str
    example: str
    where: str


KNOWN = {
    "auto": Known("accelerators, else processors, else the estimate", "auto", "choice"),
    "nvml": Known("NVIDIA GPUs: energy counter, power, telemetry", "nvml:0,1", "local"),
    "amdsmi": Known("AMD GPUs: energy counter, power", "amdsmi", "local"),
    "rapl": Known("processor packages and memory (powercap)", "rapl", "local"),
    "hwmon": Known("Grace processors and other ACPI power meters", "hwmon", "local"),
    "estimate": Known("processor time and a stated model: no instrument", "estimate:idle=1.5,busy=5", "local"),
    "modbus": Known("sub-meters, heat meters, CDUs", "modbus://10.0.0.5/1?map=schneider-iem3000", "network"),
    "snmp": Known("rack PDUs", "snmp://10.0.0.6?map=raritan-px&version=2c&community_env=PDU", "network"),
    "redfish": Known("PDUs, CDUs, servers", "redfish://10.0.0.7/redfish/v1/...?user=me&password_env=PW", "network"),
    "prometheus": Known("whatever is scraped", "prometheus://10.0.0.8:9090?query=...&kind=power&unit=W", "network"),
    "csv": Known("an export with time stamps", "csv:pdu.csv?time=t&value=kw&unit=kW&tz=UTC", "file"),
    "parquet": Known("an export with time stamps", "parquet:pdu.parquet?time=t&value=w&unit=W&tz=UTC", "file"),
    "mqtt": Known("smart plugs (extra mqtt)", "mqtt://10.0.0.9/shelly-1/status/switch:0?format=shelly", "network"),
    "bacnet": Known(
        "building meters (extra bacnet)", "bacnet://10.0.0.10/998?object=analog-input,1&kind=power", "network"
    ),
}
PLUGIN = Known("a plug-in", "", "plug-in")


def known_meters() -> dict[str, Known]:
    """Every meter that can be named, plug-ins among them. raises: PluginError on a name clash."""
    return {name: KNOWN.get(name, PLUGIN) for name in METERS.table()}


def found_here(name: str) -> str:
    """What a local meter finds on this machine, in words, or why it cannot be read."""
    try:
        meters = METERS.load(name)("")
    except (MeterError, PluginError) as err:
        return f"no: {err}"
    domains = sorted({channel.domain for meter in meters for channel in meter.channels()})
    for meter in meters:
        meter.close()
    return f"yes: {', '.join(domains)}"


def shipped_maps() -> Iterator[tuple[str, str]]:
    """(protocol, name) of every register and OID map that comes with the bench."""
    root = files("tcabench.power") / "maps"
    for protocol in ("modbus", "snmp"):
        names = sorted(file.name for file in (root / protocol).iterdir() if file.name.endswith(".yaml"))
        yield from ((protocol, name.removesuffix(".yaml")) for name in names)
