"""SNMP meters against an agent of another project (pysnmp) that plays real PDUs: what is read is what was there."""

import threading
import time
from pathlib import Path

import pytest

from tcabench.errors import MeterError, UsageError
from tcabench.power.meter import ClockedMeter, Meter
from tcabench.power.meters.snmp import open_snmp
from tcabench.records import Instrument, Kind, Role
from tests.power.opened_snmp import channel, opened, stamps, steady, values
from tests.power.servers.snmp_agent import Agent, snmp_agent
from tests.power.servers.snmp_devices import HR_SYSTEM_DATE

INLETS = {
    "raritan-px": (412.3, 0.5, 3600), "apc-rpdu2": (410, 10, 360_000), "servertech-sentry4": (412, 1, 360_000),
    "eaton-epdu": (412, 1, 3600), "vertiv-geist": (412, 1, 3600), "vertiv-mph": (412, 1, 360_000),
}  # fmt: skip
OUTLETS = {
    "raritan-px": ("outlet=5", 412.3, 3600), "apc-rpdu2": ("outlet=5", 412, 360_000),
    "servertech-sentry4": ("outlet=5", 412, 3600), "eaton-epdu": ("outlet=5", 412, 3600),
    "vertiv-geist": ("outlet=5", 412, 3600), "vertiv-mph": ("branch=2&receptacle=5", 412, 360_000),
}  # fmt: skip
RARITAN = "1.3.6.1.4.1.13742.6"


def energy_within(agent: Agent, meter: Meter, step_j: float) -> None:
    """The counter as read lies between what it was before the read and after it, cut down to its step."""
    _, before_j = agent.load.now()
    read_j = values(meter)["energy"]
    _, after_j = agent.load.now()
    assert before_j - step_j <= read_j <= after_j


@pytest.mark.parametrize("name", sorted(INLETS))
def test_power_and_energy_at_the_inlet_are_those_of_the_device(name: str) -> None:
    watts, step_w, step_j = INLETS[name]
    with snmp_agent(steady, name) as agent, opened(agent.port, name) as meter:
        assert values(meter)["power"] == watts
        assert channel(meter, "power").resolution == step_w
        assert channel(meter, "energy").resolution == step_j
        energy_within(agent, meter, step_j)
        assert {one.boundary for one in meter.channels()} == {"rack"}
        assert channel(meter, "power").instrument is Instrument.METER


@pytest.mark.parametrize("name", sorted(OUTLETS))
def test_power_and_energy_of_an_outlet_are_those_of_the_device(name: str) -> None:
    options, watts, step_j = OUTLETS[name]
    with snmp_agent(steady, name) as agent, opened(agent.port, name, f"&{options}") as meter:
        assert values(meter)["power"] == watts
        energy_within(agent, meter, step_j)
        assert {one.boundary for one in meter.channels()} == {"node"}
        assert meter.name.endswith(options.replace("=", "").replace("&", "-"))


def test_every_channel_and_fact_says_what_is_known() -> None:
    for name in (*INLETS, "rfc7460"):
        with snmp_agent(steady, name) as agent, opened(agent.port, name, "&certificate=K-17&due=2027-03-01") as meter:
            for one in meter.channels():
                assert one.update_ns > 0
                assert one.gain_low < 1 < one.gain_high
                assert (one.certificate, one.certificate_due) == ("K-17", "2027-03-01")
            facts = meter.facts()
            assert (facts["map"]["value"], len(facts["map_sha256"]["value"])) == (name, 64)
            assert facts["address"]["value"] == f"snmp://127.0.0.1:{agent.port}"
            assert all(facts[key]["value"] for key in ("maker", "model", "serial", "firmware")), name
            assert all(fact["value"] is not None or fact["why"] for fact in facts.values())


def test_what_one_device_tells_at_four_levels_is_metered_once() -> None:
    with snmp_agent(steady, "vertiv-geist") as agent, opened(agent.port, "vertiv-geist") as meter:
        assert [one.kind for one in meter.channels()] == [Kind.POWER, Kind.APPARENT_POWER, Kind.ENERGY]
        assert channel(meter, "apparent_power").role is Role.INFO
        assert "metered once" in channel(meter, "power").note


def test_the_digits_units_step_and_accuracy_are_the_devices_own() -> None:
    with snmp_agent(steady) as agent:
        agent.objects[f"{RARITAN}.3.3.4.1.7.1.1.5"] = ("gauge", lambda: 2)
        agent.objects[f"{RARITAN}.3.3.4.1.7.1.1.8"] = ("gauge", lambda: 1)
        with opened(agent.port) as meter:
            assert values(meter)["power"] == 41.23
            assert channel(meter, "power").resolution == 0.05
            assert channel(meter, "power").class_pct == 1.0
            assert "told by the device" in channel(meter, "power").accuracy_source
            assert channel(meter, "energy").class_pct == 5.0
            assert "no accuracy stated" in channel(meter, "energy").accuracy_source
            assert channel(meter, "energy").modulus == 4294967296 * 360.0
        with opened(agent.port, more="&class=0.5") as meter:
            assert channel(meter, "power").class_pct == 0.5


def test_a_unit_that_the_map_does_not_know_is_refused() -> None:
    with snmp_agent(steady) as agent:
        agent.objects[f"{RARITAN}.3.3.4.1.6.1.1.5"] = ("integer", lambda: 99)
        with pytest.raises(MeterError, match="the device tells unit 99 for it") as caught, opened(agent.port):
            pass
        assert caught.value.kind == "meter-map"


def test_a_value_that_may_be_negative_is_read_from_its_signed_object() -> None:
    with snmp_agent(steady) as agent:
        agent.objects[f"{RARITAN}.3.3.4.1.27.1.1.5"] = ("integer", lambda: -100_000)
        agent.objects[f"{RARITAN}.5.2.3.1.6.1.1.5"] = ("integer", lambda: -4123)
        with opened(agent.port) as meter:
            assert values(meter)["power"] == -412.3


def test_the_standard_energy_mib_states_its_accuracy_and_refuses_estimates() -> None:
    with snmp_agent(steady, "rfc7460") as agent:
        with opened(agent.port, "rfc7460") as meter:
            assert values(meter) == {"power": 412.3}
            assert channel(meter, "power").class_pct == 0.5
            assert "eoPowerAccuracy of RFC 7460" in channel(meter, "power").accuracy_source
        agent.objects["1.3.6.1.2.1.229.1.2.1.5.1"] = ("integer", lambda: 4)  # estimated
        with pytest.raises(MeterError, match=r"not usable \(state 4\)"), opened(agent.port, "rfc7460"):
            pass


def test_any_device_is_asked_for_the_standard_accuracy_when_its_entity_is_named() -> None:
    with snmp_agent(steady, "eaton-epdu") as agent:
        agent.objects["1.3.6.1.2.1.229.1.2.1.4.12"] = ("integer", lambda: 150)
        with opened(agent.port, "eaton-epdu", "&entity=12") as meter:
            assert channel(meter, "power").class_pct == 1.5
            assert channel(meter, "energy").class_pct == 1.5


def test_stamps_are_the_devices_and_its_clock_can_be_asked() -> None:
    with snmp_agent(steady) as agent:
        agent.device.clock_offset_s = -5.0
        with opened(agent.port) as meter:
            assert isinstance(meter, ClockedMeter)
            assert all(one.has_own_clock for one in meter.channels())
            before_ns = time.time_ns()
            told, stamped = meter.device_time(), stamps(meter)
            after_ns = time.time_ns()
            assert told.resolution_ns == 1_000_000_000
            for device_ns in (told.device_ns, *stamped):
                assert device_ns is not None
                assert before_ns - 6_000_000_000 <= device_ns <= after_ns - 5_000_000_000


@pytest.mark.parametrize(
    ("date", "why"), [(None, "no such object"), (b"\x07\xea\x0b\x17\x0e\x05\x06\x00", "without its zone")]
)
def test_a_device_whose_clock_cannot_be_asked_still_stamps(date: bytes | None, why: str) -> None:
    with snmp_agent(steady) as agent:
        del agent.objects[HR_SYSTEM_DATE]
        if date:
            agent.objects[HR_SYSTEM_DATE] = ("string", lambda: date)
        with opened(agent.port) as meter:
            assert not isinstance(meter, ClockedMeter)
            assert all(one.has_own_clock for one in meter.channels())
            assert why in meter.facts()["clock"]["why"]


def test_a_device_without_stamps_is_stamped_by_us() -> None:
    with snmp_agent(steady, "eaton-epdu") as agent, opened(agent.port, "eaton-epdu") as meter:
        assert not any(one.has_own_clock for one in meter.channels())
        assert stamps(meter) == {None}


def test_the_reset_time_of_a_counter_is_a_fact() -> None:
    for name, value in (("eaton-epdu", 1_748_563_937), ("apc-rpdu2", "05/30/2025 00:12:17")):
        with snmp_agent(steady, name) as agent, opened(agent.port, name) as meter:
            assert meter.facts()["energy_reset"]["value"] == value


def test_a_small_load_that_the_device_cuts_to_0_is_a_reading_with_a_note() -> None:
    with snmp_agent(lambda t: 80.0, "apc-rpdu2") as agent, opened(agent.port, "apc-rpdu2") as meter:
        assert values(meter)["power"] == 0.0
        assert "reads 0 below 0.5 A" in channel(meter, "power").note


def test_a_reading_takes_one_request() -> None:
    with snmp_agent(steady) as agent, opened(agent.port) as meter:
        agent.asked = 0
        meter.read()
        assert agent.asked == 1


def test_a_meter_opened_in_one_thread_is_read_in_another() -> None:
    with snmp_agent(steady) as agent, opened(agent.port) as meter:
        got: list[dict[str, float]] = []
        thread = threading.Thread(target=lambda: got.append(values(meter)))
        thread.start()
        thread.join(10)
        assert got[0]["power"] == 412.3


def test_the_role_given_places_the_load_and_leaves_what_is_only_shown() -> None:
    with snmp_agent(steady) as agent, opened(agent.port, more="&role=it&domain=hall&name=row3") as meter:
        assert meter.name == "snmp.row3"
        assert {one.domain for one in meter.channels()} == {"hall"}
        assert (channel(meter, "power").role, channel(meter, "power").boundary) == (Role.IT, "facility")
        assert channel(meter, "apparent_power").role is Role.INFO


def test_a_map_of_ones_own_reads_any_device(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ntitle: mine\nsource: me\nlevels:\n- name: unit\n  index: {unit: 1}\n  channels:\n"
        "  - {name: power, kind: power, oid: '1.3.6.1.4.1.534.6.6.7.3.5.1.4.0.{unit}', unit: W, scale: 1, update_s: 1,"
        " class_pct: 2, accuracy_source: mine, test: {raw: 1, value: 1}}\n"
    )
    with snmp_agent(steady, "eaton-epdu") as agent, opened(agent.port, str(path)) as meter:
        assert values(meter) == {"power": 412.0}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("//", "it takes a host and a map"),
        ("//pdu", "Maps: apc-rpdu2, eaton-epdu, raritan-px"),
        ("//pdu?map=raritan", "Did you mean 'raritan-px'"),
        ("//pdu?map=raritan-px&cord=1", "at the level 'inlet' of this map there is no 'cord'; it takes pdu, inlet"),
        ("//pdu?map=raritan-px&outlet=last", "outlet='last': at the level 'outlet', say which one by its number"),
        ("//pdu?map=vertiv-mph&receptacle=5", "branch='': at the level 'receptacle', say which one"),
        ("//pdu?map=raritan-px&oulet=1", "no option 'oulet'. Did you mean 'outlet'"),
        ("//pdu?map=raritan-px&version=1", "version='1' is none of 2c, 3"),
        ("//pdu?map=raritan-px&version=2c&user=me", "user has no meaning in version 2c"),
        ("//pdu?map=raritan-px&user=me&community_env=X", "community_env has no meaning in version 3"),
        ("//pdu?map=raritan-px&version=3", "version 3 needs user=NAME"),
        ("//pdu?map=raritan-px&user=me&auth=sha256", "auth= needs its secret: auth_env=VARIABLE or auth_file=FILE"),
        ("//pdu?map=raritan-px&user=me&auth_env=PATH", "auth_env or auth_file is given, auth= is not: one of md5"),
        ("//pdu?map=raritan-px&user=me&auth=sha3&auth_env=PATH", "auth='sha3' is none of md5, sha1"),
        ("//pdu?map=raritan-px&user=me&priv=aes128&priv_env=PATH", "priv= needs auth= as well"),
        ("//pdu?map=raritan-px&community_env=NOT_SET_AT_ALL", "that variable is not set"),
        ("//me:secret@pdu?map=raritan-px", "no user or password in the address"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused_with_what_to_do(address: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_snmp(address)
    assert words in str(caught.value)
    assert caught.value.kind in ("meter-argument", "meter-secret")
