"""Modbus meters in trouble: every fault is told, none becomes a number, and the next reading is right again."""

import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from tcabench.errors import MeterError
from tcabench.power.maps import shipped
from tcabench.power.meters import modbus_opening
from tcabench.power.meters.modbus import open_modbus
from tcabench.power.register_map import load_map
from tcabench.records import Kind
from tests.power.opened_modbus import opened, steady, value
from tests.power.servers.modbus_server import modbus_server

NAMES = shipped("modbus")


def patiently(read: Callable[[], float]) -> float:
    """What `read` gives once it gives something: a busy machine may miss a short time-out or two."""
    for _ in range(50):
        with suppress(MeterError):
            return read()
    raise AssertionError("not one of 50 readings came")


@pytest.mark.parametrize("name", NAMES)
def test_words_in_the_wrong_order_are_refused_by_name_and_cured_as_told(name: str) -> None:
    swapped = load_map(name).ordered({"word_order": "little"}).map
    with modbus_server(swapped, steady) as server:
        with pytest.raises(MeterError, match="word_order=little") as caught, opened(server, name):
            pass
        assert caught.value.kind == "meter-map"
        with opened(server, name, "&word_order=little") as meter:
            assert value(meter, Kind.POWER) == pytest.approx(3000)


def test_bytes_in_the_wrong_order_and_power_above_apparent_power_are_refused() -> None:
    swapped = load_map("janitza-umg96").ordered({"byte_order": "little"}).map
    with modbus_server(swapped, steady) as server:
        with pytest.raises(MeterError, match="byte_order"), opened(server):
            pass
        with opened(server, more="&byte_order=little") as meter:
            assert value(meter, Kind.POWER) == 3000
    less = {"apparent_power": lambda t: 1000.0}
    told = r"power \(3000 W\) is above apparent_power \(1000 VA\)"
    with modbus_server("janitza-umg96", steady, values=less) as server, pytest.raises(MeterError, match=told):
        open_modbus(f"//127.0.0.1:{server.port}/1?map=janitza-umg96&timeout=2")


def test_a_load_that_changes_between_two_registers_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def opening() -> None:
        asked: list[float] = []

        def apparent_va(t_s: float) -> float:
            asked.append(t_s)
            return 1000.0 if t_s - asked[0] < 0.05 else 3200.0

        with modbus_server("janitza-umg96", steady, values={"apparent_power": apparent_va}) as server:
            open_modbus(f"//127.0.0.1:{server.port}/1?map=janitza-umg96&timeout=2")[0].close()

    opening()
    monkeypatch.setattr(modbus_opening, "LOOKS", 1)
    with pytest.raises(MeterError, match="is above"):
        opening()


def test_a_value_that_cannot_be_is_refused_at_the_first_look() -> None:
    asked: list[float] = []

    def version(t_s: float) -> float:
        asked.append(t_s)
        return 9.0 if t_s - asked[0] < 0.05 else 1.0

    told, values = r"map_version is 9\.0, not 1", {"map_version": version}
    with modbus_server("tcabench-cdu", steady, values=values) as server, pytest.raises(MeterError, match=told):
        open_modbus(f"//127.0.0.1:{server.port}/1?map=tcabench-cdu&timeout=2")


def test_another_device_than_the_map_is_for_is_refused() -> None:
    with modbus_server("janitza-umg96", steady) as server:
        with pytest.raises(MeterError, match="is it the right map") as caught, opened(server, "schneider-iem3000"):
            pass
        assert caught.value.kind == "meter-map"
    newer, told = {"map_version": lambda t: 9.0}, r"map_version is 9\.0, not 1"
    with modbus_server("tcabench-cdu", steady, values=newer) as server, pytest.raises(MeterError, match=told):
        open_modbus(f"//127.0.0.1:{server.port}/1?map=tcabench-cdu&timeout=2")


def test_a_wrong_unit_id_is_told_as_such() -> None:
    with modbus_server("janitza-umg96", steady, unit=3) as server:
        with pytest.raises(MeterError, match=r"unit 7: .*exception 11.*is the unit id right") as caught:
            open_modbus(f"//127.0.0.1:{server.port}/7?map=janitza-umg96&timeout=2")
        assert caught.value.kind == "meter-unreachable"
        with opened(server, unit=3) as meter:
            assert value(meter, Kind.POWER) == 3000


@pytest.mark.parametrize(
    ("code", "kind"), [(4, "meter-read"), (6, "meter-read"), (2, "meter-map"), (10, "meter-unreachable")]
)
def test_an_exception_in_the_run_is_one_failed_reading(code: int, kind: str) -> None:
    with modbus_server("janitza-umg96", steady) as server, opened(server) as meter:
        server.exception = code
        with pytest.raises(MeterError, match=f"exception {code}") as caught:
            meter.read()
        assert caught.value.kind == kind
        server.exception = 0
        assert value(meter, Kind.POWER) == 3000


def test_a_device_that_falls_silent_ends_in_a_time_out_and_is_read_when_it_is_back() -> None:
    load = {"now": 3000.0}
    with modbus_server("janitza-umg96", lambda t: load["now"], update_s=0) as server:
        (meter,) = open_modbus(f"//127.0.0.1:{server.port}/1?map=janitza-umg96&timeout=0.2")
        server.silent = True
        for _ in range(2):
            with pytest.raises(MeterError, match=r"no answer within 0\.2 s") as caught:
                meter.read()
            assert caught.value.kind == "meter-unreachable"
        server.silent, load["now"] = False, 4000.0
        assert patiently(lambda: value(meter, Kind.POWER)) == 4000
        meter.close()


@pytest.mark.parametrize("fault", ["late_s", "split_s"])
def test_an_answer_that_comes_too_late_is_never_taken_for_the_next(fault: str) -> None:
    load = {"now": 3000.0}
    with modbus_server("janitza-umg96", lambda t: load["now"], update_s=0) as server:
        (meter,) = open_modbus(f"//127.0.0.1:{server.port}/1?map=janitza-umg96&timeout=0.2")
        setattr(server, fault, 0.4)
        with pytest.raises(MeterError, match="no answer within"):
            meter.read()
        assert meter._link._client is None  # type: ignore[attr-defined]  # the connection it may come over is given up
        setattr(server, fault, 0.0)
        load["now"] = 4000.0
        time.sleep(0.4)  # the rest is there by now
        assert patiently(lambda: value(meter, Kind.POWER)) == 4000
        meter.close()


def test_an_answer_in_two_pieces_is_one_answer() -> None:
    with modbus_server("janitza-umg96", steady) as server, opened(server) as meter:
        server.split_s = 0.05
        assert value(meter, Kind.POWER) == 3000


def test_a_connection_that_the_device_closed_costs_no_reading() -> None:
    with modbus_server("janitza-umg96", steady) as server, opened(server) as meter:
        for _ in range(3):
            server.hang_up()
            assert value(meter, Kind.POWER) == 3000


def test_half_an_answer_is_no_reading() -> None:
    with modbus_server("janitza-umg96", steady) as server, opened(server) as meter:
        server.cut_short = True
        with pytest.raises(MeterError, match="the connection broke") as caught:
            meter.read()
        assert caught.value.kind == "meter-unreachable"
        server.cut_short = False
        assert value(meter, Kind.POWER) == 3000


def test_a_device_that_was_killed_is_unreachable_and_read_again_when_it_is_back() -> None:
    with modbus_server("janitza-umg96", steady) as server, opened(server) as meter:
        server.stop()
        with pytest.raises(MeterError, match="no connection: Connection refused") as caught:
            meter.read()
        assert caught.value.kind == "meter-unreachable"
        server.start()
        assert value(meter, Kind.POWER) == 3000


def test_lost_answers_leave_only_right_readings() -> None:
    with modbus_server("janitza-umg96", lambda t: 1000 * t + 1, update_s=0) as server:
        (meter,) = open_modbus(f"//127.0.0.1:{server.port}/1?map=janitza-umg96&timeout=0.1")
        server.drop_share, lost, read = 0.3, 0, 0
        for _ in range(30):
            before_w = 1000 * (time.monotonic() - server.meter.start_s) + 1
            try:
                got_w = value(meter, Kind.POWER)
            except MeterError as err:
                assert err.kind == "meter-unreachable"  # noqa: PT017
                lost += 1
                continue
            read += 1
            assert before_w - 0.01 <= got_w <= 1000 * (time.monotonic() - server.meter.start_s) + 1.01
        meter.close()
        assert lost >= 3
        assert read >= 5


def test_nobody_there_and_something_else_there_are_told_apart() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(
        MeterError, match=f"modbus 127.0.0.1:{port}, unit 1: no connection: Connection refused"
    ) as caught:
        open_modbus(f"//127.0.0.1:{port}/1?map=janitza-umg96")
    assert caught.value.kind == "meter-unreachable"
    with socket.create_server(("127.0.0.1", 0)) as other:
        answers = threading.Thread(target=_greet, args=(other,))
        answers.start()
        with pytest.raises(MeterError, match=r"no answer within|the connection broke|not Modbus"):
            open_modbus(f"//127.0.0.1:{other.getsockname()[1]}/1?map=janitza-umg96")
        answers.join()


def _greet(other: socket.socket) -> None:
    """A server of another protocol: it greets and hangs up."""
    for _ in range(1):
        connection, _ = other.accept()
        with connection:
            connection.sendall(b"220 mail.example ESMTP\r\n")
            connection.recv(100)


def test_a_machine_with_very_many_open_files_is_metered_all_the_same() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("not so many files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    held: list[int] = []
    try:
        with modbus_server("janitza-umg96", steady) as server:
            held = [os.dup(0) for _ in range(1100)]
            with opened(server) as meter:
                assert value(meter, Kind.POWER) == 3000
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
