"""Register maps: the shipped ones hold together, and a user's bad one ends in one sentence."""

import math
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcabench.errors import UsageError
from tcabench.power.maps import shipped, shipped_map
from tcabench.power.meters.modbus_check import Said, beyond_limits, contradictions
from tcabench.power.meters.modbus_decode import FORMATS, Coding, Register, blocks, text
from tcabench.power.register_map import RegisterMap, load_map
from tcabench.records import Kind, Role
from tests.power.servers.modbus_server import encode

NAMES = shipped("modbus")
MINE = """
name: mine
title: My meter
source: the sheet that came with it
channels:
  - name: power
    kind: power
    address: 10
    type: int16
    scale: 10
    unit: W
    not_available: [-0x8000]
    update_s: 1
    class_pct: 2
    accuracy_source: printed on it
    test: {registers: [0xFFFF], value: -10}
"""


def mine(tmp_path: Path, change: Callable[[str], str] = str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(change(MINE))
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_map_is_named_as_its_file_and_says_where_everything_comes_from(name: str) -> None:
    whole = load_map(name).map
    assert whole.name == name
    assert whole.source
    for channel in whole.channels:
        assert channel.update_s > 0, channel.name
        assert channel.class_pct > 0, channel.name
        assert channel.accuracy_source, channel.name
        assert channel.comment, channel.name


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_a_shipped_map_has_a_test_vector_that_holds_in_one_word_order_only(name: str) -> None:
    whole = load_map(name).map
    for one in (*whole.channels, *whole.checks):
        assert one.test, one.name
        coding = whole.coding(one)
        assert one.value_of(coding.number(one.test.registers)) == pytest.approx(one.test.value, rel=1e-6)
        if coding.registers > 1:
            assert one.value_of(coding.swapped().number(one.test.registers)) != pytest.approx(one.test.value)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "tcabench-cdu"])
def test_a_shipped_electricity_map_has_power_and_a_counter_of_one_place(name: str) -> None:
    kinds = {channel.kind: channel for channel in load_map(name).map.channels}
    assert {Kind.POWER, Kind.ENERGY} <= set(kinds)
    assert kinds[Kind.POWER].domain == kinds[Kind.ENERGY].domain
    assert kinds[Kind.POWER].role is kinds[Kind.ENERGY].role is Role.LOAD


def test_the_cooling_map_has_all_that_a_heat_balance_needs() -> None:
    roles = {(channel.kind, channel.role) for channel in load_map("tcabench-cdu").map.channels}
    assert roles >= {(Kind.FLOW, Role.FLOW), (Kind.TEMPERATURE, Role.SUPPLY), (Kind.TEMPERATURE, Role.RETURN)}
    assert (Kind.POWER, Role.COOLING) in roles
    assert {kind for kind, _ in roles} >= {Kind.HEAT, Kind.HEAT_ENERGY}


@given(
    st.sampled_from(sorted(FORMATS)), st.sampled_from(["big", "little"]), st.sampled_from(["big", "little"]), st.data()
)
def test_a_number_comes_back_from_its_registers_in_every_order(kind: str, words: str, order: str, data) -> None:
    coding = Coding(kind, words, order)
    size = struct.calcsize(FORMATS[kind])
    (number,) = struct.unpack(">" + FORMATS[kind], data.draw(st.binary(min_size=size, max_size=size)))
    if math.isnan(number):
        return
    assert coding.number(encode(coding, number)) == number


def test_words_and_bytes_lie_as_the_orders_say() -> None:
    big = [0x4144, 0xCCCD]  # 12.3
    assert Coding("float32").number(big) == pytest.approx(12.3)
    assert Coding("float32", "little").number([0xCCCD, 0x4144]) == pytest.approx(12.3)
    assert Coding("float32", "big", "little").number([0x4441, 0xCDCC]) == pytest.approx(12.3)
    assert Coding("int32").number([0xFFFF, 0xFFFE]) == -2
    assert Coding("uint32").number([0xFFFF, 0xFFFE]) == 0xFFFF_FFFE
    assert Coding("int64").number([0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF]) == -1


@pytest.mark.parametrize(
    ("kind", "number", "step"),
    [
        ("float32", 20_000_000.0, 2.0), ("float32", 16_777_215.0, 1.0), ("float32", 65e6, 4.0),
        ("float32", 1.0, 2**-23),
        ("float32", 0.0, 0.0), ("float32", math.inf, 0.0), ("uint32", 4_000_000_000, 1.0), ("float64", 1.0, 2**-52),
    ],
)  # fmt: skip
def test_the_step_of_a_number_is_the_distance_to_its_neighbour(kind: str, number: float, step: float) -> None:
    assert Coding(kind).step(number) == step
    if step and kind == "float32":
        (neighbour,) = struct.unpack(">f", struct.pack(">f", number + step))
        (nothing,) = struct.unpack(">f", struct.pack(">f", number + step / 3))
        assert (neighbour - number, nothing - number) == (step, 0)


places = st.builds(Register, st.sampled_from([3, 4]), st.integers(0, 400), st.sampled_from([1, 2, 4]))


@given(st.lists(places, min_size=1, max_size=30), st.integers(4, 125), st.integers(0, 20))
def test_blocks_hold_each_register_once_within_the_limits(wanted: list[Register], most: int, gap: int) -> None:
    plan = blocks(wanted, most, gap)
    assert sorted((r.function, r.address, r.count) for block in plan for r in block.wanted) == sorted(
        {(r.function, r.address, r.count) for r in wanted}
    )
    for block in plan:
        assert block.register.count <= most
        answer = list(range(block.register.address, block.register.end))
        for register in block.wanted:
            assert register.function == block.register.function
            assert list(block.words(register, answer)) == list(range(register.address, register.end))
        used = {a for register in block.wanted for a in range(register.address, register.end)}
        hole = longest = 0
        for address in answer:
            hole = 0 if address in used else hole + 1
            longest = max(longest, hole)
        assert longest <= gap


def test_neighbours_share_a_request_and_strangers_do_not() -> None:
    near = [Register(3, 10, 2), Register(3, 12, 2), Register(3, 16, 2)]
    assert len(blocks(near, 125, 0)) == 2
    assert len(blocks(near, 125, 2)) == 1
    assert (len(blocks(near, 7, 2)), len(blocks(near, 8, 2))) == (2, 1)
    assert len(blocks([Register(3, 10, 2), Register(4, 12, 2)], 125, 0)) == 2


def test_text_ends_at_the_first_zero_and_holds_nothing_that_cannot_be_printed() -> None:
    assert text([0x6945, 0x4D33, 0x2000, 0x4142]) == "iEM3"
    assert text([0x1B5B, 0x3331, 0x6D41]) == "[31mA"
    assert text([0x4569, 0x334D], "little") == "iEM3"
    assert text([0, 0]) == ""


def test_a_users_own_map_is_loaded_by_its_path_and_known_by_its_hash(tmp_path: Path) -> None:
    loaded = load_map(mine(tmp_path))
    (channel,) = loaded.map.channels
    assert channel.value_of(-0x8000) is None
    assert channel.value_of(-3) == -30
    assert loaded.sha256 != load_map(mine(tmp_path, lambda t: t + "# a word more\n")).sha256


BAD = [
    (lambda t: t.replace("unit: W", "unit: kW"), r"channels\.0: unit 'kW': power is kept in W; put the factor"),
    (lambda t: t.replace("scale: 10", "scale: 0"), "scale is 0"),
    (lambda t: t.replace("value: -10", "value: 655350"), r"power: its test vector says 655350, the map makes -10\.0"),
    (lambda t: t.replace("[0xFFFF]", "[0xFFFF, 1]"), "its test vector has 2 registers, int16 takes 1"),
    (lambda t: t.replace("type: int16", "type: int24"), r"channels\.0\.type: "),
    (lambda t: t.replace("address: 10", "adress: 10"), "did you mean 'address'"),
    (lambda t: t.replace("address: 10", "address: 70000"), r"channels\.0\.address: .*65535"),
    (lambda t: t.replace("kind: power", "kind: clock"), "kind clock: no map can have it"),
    (lambda t: t.replace("update_s: 1", "update_s: 1\n    modulus: 65536"), "modulus: only a counter starts again"),
    (lambda t: t + t[t.index("  - name") :], "'power' is there twice"),
    (lambda t: t + t[t.index("  - name") :].replace("name: power", "name: more"), "2 channels of kind power"),
    (lambda t: t + "stamp: {address: 1, type: uint32}\n", "stamp: needs a clock beside it"),
    (lambda t: t + "checks: [{name: odd, address: 1, type: int16}]\n", "give a kind, or the value that it equals"),
    (lambda t: t + "identity: {model: {address: 1}}\n", "registers: how many hold the text"),
    (lambda t: t + "identity: {model: {}}\n", "give either value or address"),
    (lambda t: t + "max_registers: 126\n", "max_registers: "),
    (lambda t: "channels: [", "not readable as YAML"),
    (lambda t: "- 1", "mine.yaml: "),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), BAD)
def test_a_bad_map_ends_in_one_clear_sentence(tmp_path: Path, change: Callable[[str], str], told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        load_map(mine(tmp_path, change))
    assert "\n" not in str(caught.value)
    assert "mine.yaml" in str(caught.value)


def test_an_unknown_map_is_answered_with_the_nearest_and_all_that_are_known() -> None:
    with pytest.raises(UsageError, match=r"'janitza-umg69'\. Did you mean 'janitza-umg96'\?.*tcabench-cdu"):
        load_map("janitza-umg69")
    with pytest.raises(UsageError, match=r"/no/such\.yaml: the register map cannot be read: No such file"):
        load_map("/no/such.yaml")
    with pytest.raises(KeyError):
        shipped_map("modbus", "../modbus/tcabench-cdu")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([("power", Kind.POWER, -1.07e11)], "power reads -1.07e[+]11"),
        ([("voltage", Kind.VOLTAGE, 2.4e-41)], "voltage reads 2.4e-41"),
        ([("energy", Kind.ENERGY, -1.0)], "energy reads -1"),
        ([("p", Kind.POWER, 3000.0), ("s", Kind.APPARENT_POWER, 1200.0)], r"p \(3000 W\) is above s \(1200 VA\)"),
        (
            [("p", Kind.POWER, 9e3), ("u", Kind.VOLTAGE, 230), ("i", Kind.CURRENT, 4), ("f", Kind.POWER_FACTOR, 1)],
            "p reads 9000 W; voltage, current and power factor give 920 W",
        ),
    ],
)  # fmt: skip
def test_what_no_plant_has_is_called_strange(values: list[tuple[str, Kind, float]], told: str) -> None:
    said = [Said(*one) for one in values]
    (trouble,) = [*beyond_limits(said), *contradictions(said)]
    assert re.fullmatch(told, trouble)


def test_a_sound_meter_is_not_called_strange_idle_reversed_or_switched_off() -> None:
    for watts, volts in ((3000.0, 230.0), (-3000.0, 230.0), (0.4, 231.5), (0.0, 0.0)):
        apparent, amps = abs(watts) / 0.9, abs(watts) / 0.9 / 230
        said = [
            Said("p", Kind.POWER, watts), Said("s", Kind.APPARENT_POWER, apparent), Said("e", Kind.ENERGY, 3.6e12),
            Said("u", Kind.VOLTAGE, volts), Said("i", Kind.CURRENT, amps if amps > 1e-3 else 0.0),
            Said("f", Kind.POWER_FACTOR, 0.9), Said("hz", Kind.FREQUENCY, 50.0 if volts else 0.0),
        ]  # fmt: skip
        assert [*beyond_limits(said), *contradictions(said)] == []


def test_maps_and_openers_are_loaded_without_the_protocols() -> None:
    code = (
        "import sys; from tcabench.power.register_map import load_map; load_map('tcabench-cdu'); "
        "import tcabench.power.meters.modbus, tcabench.power.meters.export; "
        "assert not {'pymodbus', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_overruled_orders_apply_to_every_number_that_does_not_set_its_own() -> None:
    whole: RegisterMap = load_map("janitza-umg96").ordered({"word_order": "little", "byte_order": "big"}).map
    assert {whole.coding(one).word_order for one in whole.channels} == {"little"}
