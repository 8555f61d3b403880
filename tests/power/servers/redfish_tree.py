"""The resources of the Redfish test server: one load behind a rack PDU, a CDU and a chassis, named as in DSP0268."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

J_PER_KWH = 3_600_000
PDU = "/redfish/v1/PowerEquipment/RackPDUs/1"
CDU = "/redfish/v1/ThermalEquipment/CDUs/1"
CHASSIS = "/redfish/v1/Chassis/1"
SYSTEM = "/redfish/v1/Systems/1"
MANAGER = "/redfish/v1/Managers/BMC"
SESSIONS = "/redfish/v1/SessionService/Sessions"
OK = {"State": "Enabled", "Health": "OK"}
Tree = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class State:
    """What the sensors hold: power in W, energy in J since the last reset and over the device's life, and when they
    were read (Unix s by the device's clock). `shown` shapes the tree: see `redfish_server.Knobs`."""

    power_w: float
    energy_j: float
    lifetime_j: float
    read_at_s: float
    now_s: float


@dataclass(slots=True)
class Shown:
    """What the service tells beside the readings; None leaves a property out."""

    kwh_digits: int = 1
    sensing: str | None = "PT0.2S"
    accuracy: float | None = 1.0
    reading_accuracy: float | None = None
    reading_time: bool = True
    lifetime: bool = False
    managers: bool = True
    apparent_va: float | None = None  # None: the power over a power factor of 0.95
    heat_kw: float | None = None  # None: what flow and temperatures carry
    joules: bool = True
    nulls: frozenset[str] = frozenset()  # properties that read null
    flow_lpm: float = 40.0
    supply_c: float = 30.0


def tree(state: State, shown: Shown) -> Tree:
    """Every resource by its URI."""
    resources: Tree = {}
    for part in (_service, _pdu, _cdu, _chassis):
        resources |= part(state, shown)
    for uri, resource in resources.items():
        resource.setdefault("Id", uri.rstrip("/").rpartition("/")[2])
        resource.setdefault("Name", resource["Id"])
        resource["@odata.id"] = uri
    return {uri.rstrip("/"): _nulled(resource, shown.nulls) for uri, resource in resources.items()}


def collection(kind: str, uri: str, *ids: str) -> dict[str, Any]:
    members = [{"@odata.id": f"{uri}/{one}"} for one in ids]
    return {"@odata.type": f"#{kind}Collection.{kind}Collection", "Members": members, "Members@odata.count": len(ids)}


def date_time(unix_s: float) -> str:
    """As Redfish writes it, to the millisecond."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(unix_s * 1000))).isoformat(
        "T", "milliseconds"
    )


def _service(state: State, shown: Shown) -> Tree:
    root: dict[str, Any] = {
        "@odata.type": "#ServiceRoot.v1_17_0.ServiceRoot", "Id": "RootService", "Name": "Root Service",
        "RedfishVersion": "1.22.0", "UUID": "92384634-2938-2342-8820-489239905423",
        "Links": {"Sessions": {"@odata.id": SESSIONS}},
        "SessionService": {"@odata.id": "/redfish/v1/SessionService"},
    }  # fmt: skip
    for name in (
        "Chassis",
        "Systems",
        "PowerEquipment",
        "ThermalEquipment",
        *(("Managers",) if shown.managers else ()),
    ):
        root[name] = {"@odata.id": f"/redfish/v1/{name}"}
    manager = {"@odata.type": "#Manager.v1_20_0.Manager", "ManagerType": "BMC", "Status": OK,
               "DateTime": date_time(state.now_s), "DateTimeLocalOffset": "+00:00"}  # fmt: skip
    return {
        "/redfish/v1/": root,
        "/redfish/v1/SessionService": {
            "@odata.type": "#SessionService.v1_1_9.SessionService", "ServiceEnabled": True, "SessionTimeout": 300,
            "Sessions": {"@odata.id": SESSIONS},
        },
        "/redfish/v1/Managers": collection("Manager", "/redfish/v1/Managers", "BMC"),
        MANAGER: manager,
    }  # fmt: skip


def _pdu(state: State, shown: Shown) -> Tree:
    sensors = f"{PDU}/Sensors"
    apparent = state.power_w / 0.95 if shown.apparent_va is None else shown.apparent_va
    watts = {"Reading": round(state.power_w, 1), "ApparentVA": round(apparent, 1), "PowerFactor": 0.95}
    kwh = _energy(state, shown)
    outlets = {
        name: {"@odata.type": "#Outlet.v1_4_4.Outlet", "Status": OK, "PowerEnabled": True, "PowerState": "On",
               "PowerWatts": {"Reading": round(state.power_w * share, 1)},
               "EnergykWh": {"Reading": round(kwh["Reading"] * share, shown.kwh_digits)}}
        for name, share in (("A1", 0.75), ("A2", 0.25))
    }  # fmt: skip
    circuit = {"@odata.type": "#Circuit.v1_8_1.Circuit", "Status": OK, "PowerWatts": watts, "EnergykWh": kwh}
    return {
        "/redfish/v1/PowerEquipment": {
            "@odata.type": "#PowerEquipment.v1_2_1.PowerEquipment", "Status": OK,
            "RackPDUs": {"@odata.id": "/redfish/v1/PowerEquipment/RackPDUs"},
        },
        "/redfish/v1/PowerEquipment/RackPDUs": collection(
            "PowerDistribution", "/redfish/v1/PowerEquipment/RackPDUs", "1"
        ),
        PDU: {
            "@odata.type": "#PowerDistribution.v1_4_0.PowerDistribution", "EquipmentType": "RackPDU",
            "Manufacturer": "Contoso", "Model": "ZAP4000", "SerialNumber": "29347ZT536", "FirmwareVersion": "4.3.0",
            "Status": OK, **{name: {"@odata.id": f"{PDU}/{name}"} for name in
                             ("Metrics", "Outlets", "Mains", "Branches", "Sensors")},
        },
        f"{PDU}/Metrics": {
            "@odata.type": "#PowerDistributionMetrics.v1_3_2.PowerDistributionMetrics",
            "PowerWatts": {**watts, "DataSourceUri": f"{sensors}/Power"},
            "EnergykWh": {**kwh, "DataSourceUri": f"{sensors}/Energy"},
        },
        f"{PDU}/Outlets": collection("Outlet", f"{PDU}/Outlets", *outlets),
        **{f"{PDU}/Outlets/{name}": outlet for name, outlet in outlets.items()},
        f"{PDU}/Mains": collection("Circuit", f"{PDU}/Mains", "AC1"),
        f"{PDU}/Mains/AC1": {**circuit, "CircuitType": "Mains"},
        f"{PDU}/Branches": collection("Circuit", f"{PDU}/Branches", "A"),
        f"{PDU}/Branches/A": {**circuit, "CircuitType": "Branch"},
        sensors: collection("Sensor", sensors, "Power", "Energy"),
        f"{sensors}/Power": _sensor(state, shown, "Power", "W", round(state.power_w, 1)),
        f"{sensors}/Energy": {**_sensor(state, shown, "EnergykWh", "kW.h", 0.0), **kwh},
    }  # fmt: skip


def _cdu(state: State, shown: Shown) -> Tree:
    rise = state.power_w / (1026.0 * shown.flow_lpm / 60_000 * 3950.0)
    heat = state.power_w / 1000 if shown.heat_kw is None else shown.heat_kw
    coolant = {"CoolantType": "Water", "AdditiveName": "Propylene glycol", "AdditivePercent": 25,
               "DensityKgPerCubicMeter": 1026, "SpecificHeatkJoulesPerKgK": 3.95}  # fmt: skip
    result: Tree = {
        "/redfish/v1/ThermalEquipment": {
            "@odata.type": "#ThermalEquipment.v1_1_3.ThermalEquipment", "Status": OK,
            "CDUs": {"@odata.id": "/redfish/v1/ThermalEquipment/CDUs"},
        },
        "/redfish/v1/ThermalEquipment/CDUs": collection("CoolingUnit", "/redfish/v1/ThermalEquipment/CDUs", "1"),
        CDU: {
            "@odata.type": "#CoolingUnit.v1_4_0.CoolingUnit", "EquipmentType": "CDU", "Manufacturer": "Contoso",
            "Model": "BRRR4000", "SerialNumber": "29347ZT537", "FirmwareVersion": "3.2.0", "Status": OK,
            "Coolant": coolant, **{name: {"@odata.id": f"{CDU}/{name}"} for name in
                                   ("EnvironmentMetrics", "SecondaryCoolantConnectors", "PrimaryCoolantConnectors")},
        },
        f"{CDU}/EnvironmentMetrics": _environment(state, shown, 0.02),
    }  # fmt: skip
    for side, supply in (("Secondary", shown.supply_c), ("Primary", shown.supply_c - 6)):
        uri = f"{CDU}/{side}CoolantConnectors"
        result[uri] = collection("CoolantConnector", uri, "1")
        result[f"{uri}/1"] = {
            "@odata.type": "#CoolantConnector.v1_2_0.CoolantConnector", "CoolantConnectorType": "Pair", "Status": OK,
            "Coolant": coolant, "FlowLitersPerMinute": {"Reading": shown.flow_lpm},
            "HeatRemovedkW": {"Reading": round(heat, 3)},
            "SupplyTemperatureCelsius": {"Reading": round(supply, 2)},
            "ReturnTemperatureCelsius": {"Reading": round(supply + rise, 2)},
            "DeltaTemperatureCelsius": {"Reading": round(rise, 2)},
        }  # fmt: skip
    return result


def _chassis(state: State, shown: Shown) -> Tree:
    metrics = {"@odata.id": f"{CHASSIS}/EnvironmentMetrics"}
    return {
        "/redfish/v1/Chassis": collection("Chassis", "/redfish/v1/Chassis", "1", "Old"),
        CHASSIS: {
            "@odata.type": "#Chassis.v1_25_0.Chassis", "ChassisType": "RackMount", "Manufacturer": "Contoso",
            "Model": "3500", "SerialNumber": "437XR1138R2", "Status": OK, "EnvironmentMetrics": metrics,
        },
        f"{CHASSIS}/EnvironmentMetrics": _environment(state, shown, 1.0),
        "/redfish/v1/Chassis/Old": {
            "@odata.type": "#Chassis.v1_5_0.Chassis", "ChassisType": "RackMount", "Manufacturer": "Contoso",
            "Model": "1500", "SerialNumber": "7", "Status": OK, "Power": {"@odata.id": "/redfish/v1/Chassis/Old/Power"},
        },
        "/redfish/v1/Chassis/Old/Power": {
            "@odata.type": "#Power.v1_7_1.Power",
            "PowerControl": [{"MemberId": "0", "Name": "System", "PowerConsumedWatts": round(state.power_w)}],
        },
        "/redfish/v1/Systems": collection("ComputerSystem", "/redfish/v1/Systems", "1"),
        SYSTEM: {
            "@odata.type": "#ComputerSystem.v1_23_0.ComputerSystem", "Manufacturer": "Contoso", "Model": "3500",
            "SerialNumber": "437XR1138R2", "Status": OK, "EnvironmentMetrics": metrics,
        },
    }  # fmt: skip


def _environment(state: State, shown: Shown, share: float) -> dict[str, Any]:
    joules = {"EnergyJoules": {"Reading": round(state.energy_j * share)}} if shown.joules else {}
    return {
        "@odata.type": "#EnvironmentMetrics.v1_3_2.EnvironmentMetrics",
        "PowerWatts": {"Reading": round(state.power_w * share, 1)},
        "EnergykWh": {"Reading": round(state.energy_j * share / J_PER_KWH, shown.kwh_digits)}, **joules,
    }  # fmt: skip


def _energy(state: State, shown: Shown) -> dict[str, Any]:
    found = {"Reading": round(state.energy_j / J_PER_KWH, shown.kwh_digits)}
    return found | (
        {"LifetimeReading": round(state.lifetime_j / J_PER_KWH, shown.kwh_digits)} if shown.lifetime else {}
    )


def _sensor(state: State, shown: Shown, kind: str, unit: str, reading: float) -> dict[str, Any]:
    told = {"SensingInterval": shown.sensing, "Accuracy": shown.accuracy, "ReadingAccuracy": shown.reading_accuracy,
            "ReadingTime": date_time(state.read_at_s) if shown.reading_time else None}  # fmt: skip
    return {
        "@odata.type": "#Sensor.v1_10_0.Sensor", "ReadingType": kind, "ReadingUnits": unit, "Reading": reading,
        "Implementation": "PhysicalSensor", "Status": OK, "CalibrationTime": "2026-01-15T00:00:00Z",
        **{name: value for name, value in told.items() if value is not None},
    }  # fmt: skip


def _nulled(resource: dict[str, Any], nulls: frozenset[str]) -> dict[str, Any]:
    found = resource["@odata.id"].rpartition("/")[2]
    return {
        name: {**value, "Reading": None} if name in nulls else None if name == "Reading" and found in nulls else value
        for name, value in resource.items()
    }
