"""SNMP object maps: the shipped ones say what the makers' MIBs say, and a user's bad one ends in one sentence."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tcabench.errors import UsageError
from tcabench.power.maps import shipped, shipped_map
from tcabench.power.oid_map import filled, load_map
from tcabench.records import Kind

NAMES = shipped("snmp")
KWH = 3_600_000
ENTERPRISE = "1.3.6.1.4.1."
# map, level, quantity, the object that the MIB names for number 1 (outlets: 5), what one step of it is in W, J or VA
MIBS = [
    ("raritan-px", "inlet", "power", "13742.6.5.2.3.1.4.1.1.5", 1),
    ("raritan-px", "inlet", "energy", "13742.6.5.2.3.1.4.1.1.8", 1),
    ("raritan-px", "outlet", "power", "13742.6.5.4.3.1.4.1.5.5", 1),
    ("raritan-px", "outlet", "energy", "13742.6.5.4.3.1.4.1.5.8", 1),
    ("apc-rpdu2", "device", "power", "318.1.1.26.4.3.1.5.1", 10),
    ("apc-rpdu2", "device", "apparent_power", "318.1.1.26.4.3.1.16.1", 10),
    ("apc-rpdu2", "device", "energy", "318.1.1.26.4.3.1.9.1", KWH / 10),
    ("apc-rpdu2", "outlet", "power", "318.1.1.26.9.4.3.1.7.5", 1),
    ("apc-rpdu2", "outlet", "energy", "318.1.1.26.9.4.3.1.11.5", KWH / 10),
    ("servertech-sentry4", "cord", "power", "1718.4.1.3.3.1.3.1.1", 1),
    ("servertech-sentry4", "cord", "energy", "1718.4.1.3.3.1.10.1.1", KWH / 10),
    ("servertech-sentry4", "outlet", "power", "1718.4.1.8.3.1.7.1.1.5", 1),
    ("servertech-sentry4", "outlet", "energy", "1718.4.1.8.3.1.14.1.1.5", 3600),
    ("eaton-epdu", "input", "power", "534.6.6.7.3.5.1.4.0.1", 1),
    ("eaton-epdu", "input", "energy", "534.6.6.7.3.5.1.5.0.1", 3600),
    ("eaton-epdu", "outlet", "power", "534.6.6.7.6.5.1.3.0.5", 1),
    ("eaton-epdu", "outlet", "energy", "534.6.6.7.6.5.1.4.0.5", 3600),
    ("vertiv-geist", "device", "power", "21239.5.2.3.1.1.9.1", 1),
    ("vertiv-geist", "device", "energy", "21239.5.2.3.1.1.12.1", 3600),
    ("vertiv-geist", "outlet", "power", "21239.5.2.3.6.1.12.5", 1),
    ("vertiv-geist", "outlet", "energy", "21239.5.2.3.6.1.15.5", 3600),
    ("vertiv-mph", "supply", "power", "476.1.42.3.8.30.20.1.65.1.1", 1),
    ("vertiv-mph", "supply", "energy", "476.1.42.3.8.30.20.1.50.1.1", KWH / 10),
    ("vertiv-mph", "receptacle", "power", "476.1.42.3.8.50.20.1.65.1.1.5", 1),
    ("vertiv-mph", "receptacle", "energy", "476.1.42.3.8.50.20.1.85.1.1.5", KWH / 10),
]
MINE = """
name: mine
title: My PDU
source: the MIB that came with it
levels:
  - name: inlet
    index: {inlet: 1}
    channels:
      - name: power
        kind: power
        oid: 1.3.6.1.4.1.99999.1.{inlet}
        unit: W
        scale: 0.1
        not_available: [-1]
        update_s: 1
        class_pct: 2
        accuracy_source: printed on it
        test: {raw: 4125, value: 412.5}
"""


def mine(tmp_path: Path, change: Callable[[str], str] = str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(change(MINE))
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_map_is_named_as_its_file_and_says_where_everything_comes_from(name: str) -> None:
    whole = load_map(name).map
    assert (whole.name, bool(whole.source)) == (name, True)
    assert {"maker", "model", "serial", "firmware"} == set(whole.identity)
    for level in whole.levels:
        assert level.channels[0].kind is Kind.POWER
        for channel in level.channels:
            assert channel.update_s > 0, channel.name
            assert channel.class_pct > 0, channel.name
            assert channel.accuracy_source, channel.name
            assert channel.comment, channel.name


@pytest.mark.parametrize(("name", "level_name", "quantity", "name_in_mib", "step"), MIBS)
def test_a_shipped_map_names_the_object_of_the_mib(
    name: str, level_name: str, quantity: str, name_in_mib: str, step: float
) -> None:
    level = next(level for level in load_map(name).map.levels if level.name == level_name)
    channel = next(channel for channel in level.channels if channel.name == quantity)
    index = {key: (5 if key in ("outlet", "receptacle") else 0 if key == "strap" else 1) for key in level.index}
    assert filled(channel.oid, index) == ENTERPRISE + name_in_mib
    assert channel.scale == step


def test_an_outlet_is_of_the_node_and_an_inlet_of_the_rack() -> None:
    boundaries = {(level.name, level.boundary) for name in NAMES for level in load_map(name).map.levels}
    assert {boundary for name, boundary in boundaries if name in ("outlet", "receptacle", "entity")} == {"node"}
    assert {boundary for name, boundary in boundaries if name not in ("outlet", "receptacle", "entity")} == {"rack"}


def test_only_a_counter_whose_mib_says_so_wraps() -> None:
    wraps = {name for name in NAMES for level in load_map(name).map.levels for one in level.channels if one.modulus_raw}
    assert wraps == {"raritan-px"}


def test_every_index_has_an_option_of_its_name() -> None:
    for name in NAMES:
        for level in yaml.safe_load(shipped_map("snmp", name))["levels"]:
            used = set(re.findall(r"\{([a-z]+)\}", str(level["channels"])))
            assert used <= set(level["index"]), name


def test_a_map_of_ones_own_is_read_from_its_file(tmp_path: Path) -> None:
    loaded = load_map(mine(tmp_path))
    (channel,) = loaded.map.levels[0].channels
    assert filled(channel.oid, {"inlet": 3}) == "1.3.6.1.4.1.99999.1.3"
    assert channel.value_of(4125) == 412.5
    assert [channel.is_there(raw) for raw in (-1, 0, 5)] == [False, True, True]
    assert len(loaded.sha256) == 64
    assert loaded.sha256 != load_map(mine(tmp_path, lambda text: text + "# changed\n")).sha256


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("unit: W", "unit: kW", "power is kept in W; put the factor into scale"),
        ("value: 412.5", "value: 41.25", "its test vector says 41.25, the map makes 412.5 of it"),
        ("raw: 4125", "raw: -1", "its test vector says 412.5"),
        (".1.{inlet}", ".1.{inlett}", r"\{inlett\} is no index; known: pdu, inlet"),
        (".1.{inlet}", ".x", "is no object identifier like 1.3.6"),
        ("index: {inlet: 1}", "index: {pdu: 1}", r"\{inlet\} stands in an OID, but not in index"),
        ("index: {inlet: 1}", "index: {inlet: 1, tower: 1}", "index 'tower' is not known"),
        ("kind: power", "kind: flow", "kind flow: no map can have it; known: power"),
        ("scale: 0.1", "scale: 0", "scale is 0"),
        ("scale: 0.1", "scale: 0.1\n        modulus_raw: 100", "only a counter starts again at 0, and power is none"),
        ("scale: 0.1", "scal: 0.1", "unknown key; did you mean 'scale'"),
        ("update_s: 1", "optional: true\n        update_s: 1", "every channel is optional"),
        ("source: the MIB", "identity: {model: {}}\nsource: the MIB", "give either value or oid"),
        ("source: the MIB", 'clock: "1.3.6.1.9.{pdu}"\nsource: the MIB', r"\{pdu\} stands in identity or clock"),
        ("source: the MIB that came with it", "", "source: Field required"),
        ("test: {raw: 4125, value: 412.5}", "test: {raw: 4125, value: 412.5, unit_code: 3}", "only there"),
    ],
)
def test_a_map_that_cannot_be_right_is_refused_in_one_sentence(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in MINE
    with pytest.raises(UsageError, match=words) as caught:
        load_map(mine(tmp_path, lambda text: text.replace(old, new)))
    assert str(caught.value).startswith(f"{tmp_path}/mine.yaml: ")


def test_a_map_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'raritan-px'.*Known: apc-rpdu2, eaton-epdu"):
        load_map("raritan-p")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_map(str(tmp_path / "none.yaml"))
