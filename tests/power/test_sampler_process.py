"""The sampler's own process: what comes out of it is what the meters said, and it never outlives the run."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tcabench.clock import SystemClock
from tcabench.errors import MeterError, PluginError, TcaError, UsageError
from tcabench.power import Event, Meter, Tape, apart, open_meters, recording
from tcabench.power.apart import ApartMeter
from tcabench.records import PowerSample

HERE = Path(__file__).parent
PLENTY_S = 60.0


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of plugin_meters.py, installed where this process finds it."""
    return install(tmp_path, monkeypatch.syspath_prepend)


def install(folder: Path, add: Callable[[str], None]) -> Path:
    about = folder / "plug-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[tcabench.meters]\nplug = plugin_meters:opened\n")
    shutil.copy(HERE / "plugin_meters.py", folder)
    add(str(folder))
    return folder


@contextmanager
def opened(*names: str) -> Iterator[list[Meter]]:
    meters = open_meters(names, apart=True)
    with ExitStack() as stack:
        for meter in meters:
            stack.callback(meter.close)
        yield meters


def process(meters: Sequence[Meter]) -> psutil.Process:
    assert isinstance(meters[0], ApartMeter)
    return psutil.Process(meters[0].sampler.pid)


def is_gone(one: psutil.Process) -> bool:
    return not one.is_running() or one.status() == psutil.STATUS_ZOMBIE


def wait_for(what: Callable[[], object]) -> None:
    until_s = time.monotonic() + PLENTY_S
    while not what():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def dropped(samples: Sequence[PowerSample]) -> None:
    """A sink for tests that look at the tape alone."""


def recorded(meters: Sequence[Meter], samples: int = 20) -> Tape:
    with recording(meters, SystemClock(), dropped) as tape:
        wait_for(lambda: len(tape.samples()) >= samples)
    return tape


def troubles(tape: Tape) -> list[Event]:
    """The faults, but for those that a machine with much else to do makes: readings 10 ms apart do not all come."""
    return [fault for fault in tape.faults() if fault["event"] not in ("missed_ticks", "late_read")]


def events(tape: Tape, kind: str) -> list[Event]:
    return [event for event in tape.events() if event["event"] == kind]


def test_channels_and_facts_are_those_of_the_meter_itself() -> None:
    (here,) = open_meters(["plug:thirds"])
    with opened("plug:thirds") as (there,):
        assert there.name == here.name
        assert there.channels() == here.channels()
        of_this_process = {"pid": None, "heavy": None}  # what the tests before this one imported is here, not there
        assert {**there.facts(), **of_this_process} == {**here.facts(), **of_this_process}
        assert there.facts()["pid"]["value"] == process([there]).pid != os.getpid()


def test_every_value_comes_over_exactly_and_in_order() -> None:
    got: list[PowerSample] = []
    with opened("plug:thirds") as meters:
        with recording(meters, SystemClock(), got.extend) as tape:
            wait_for(lambda: len(got) >= 50)
        whole, of_meter = tape.costs()[-2:]
    assert [sample.value for sample in got] == [count / 3 for count in range(1, len(got) + 1)]
    assert tuple(got) == tape.samples()
    assert (whole["meter"], whole["reads"]) == ("", len(got))
    assert whole["cpu_s"] > of_meter["cpu_s"] > 0
    assert all(one.t_ns < other.t_ns for one, other in itertools.pairwise(got))
    assert troubles(tape) == []


def test_stamps_of_the_meters_own_clock_come_over_to_the_last_ns() -> None:
    with opened("plug:clocked") as meters:
        tape = recorded(meters)
    hour_ns = 1_782_000_000_000_000_000
    assert [sample.device_ns for sample in tape.samples()[:4]] == [
        hour_ns + 1250, hour_ns + 1750, hour_ns + 2250, hour_ns + 2750,
    ]  # fmt: skip
    first, *_, last = events(tape, "clock_exchange")
    assert first["device_ns"] == last["device_ns"] == str(hour_ns + 1)
    assert first["before_ns"] <= first["t"] <= first["after_ns"] < last["before_ns"]


@pytest.mark.parametrize(
    ("name", "error", "kind", "words"),
    [
        ("plug:away", MeterError, "meter-unreachable", "bring it back"),
        ("plug:wrong", UsageError, "meter-argument", "makes no sense"),
        ("plug:thirds,thirds", UsageError, "meter-twice", "metered twice"),
        ("plugg", PluginError, "plugin", "Did you mean 'plug'"),
        ("plug:broken", MeterError, "meter-bug", "ZeroDivisionError: a bug (plugin_meters.py:"),
    ],
)
def test_what_opening_raises_there_is_raised_here(name: str, error: type[TcaError], kind: str, words: str) -> None:
    before = set(psutil.Process().children())
    with pytest.raises(error) as caught:
        open_meters([name], apart=True)
    assert type(caught.value) is error
    assert caught.value.kind == kind
    assert words in str(caught.value)
    assert set(psutil.Process().children()) == before


def test_secrets_travel_by_environment_and_the_users_python_path_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUG_SECRET", "hush")
    monkeypatch.setenv("PYTHONPATH", "/the/users")
    with opened("plug:thirds") as (meter,):
        facts, line = meter.facts(), process([meter]).cmdline()
    assert facts["secret_is_there"]["value"] is True
    assert facts["python_path"]["value"] == "/the/users"
    assert "hush" not in " ".join(line)


def test_the_process_starts_light() -> None:
    with opened("plug:thirds") as (meter,):
        assert meter.facts()["heavy"]["value"] == []


def test_a_file_where_the_user_stands_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "json.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path / "here")
    with opened("plug:thirds") as (meter,):
        assert meter.read()


def test_nothing_is_lost_beside_a_parent_that_computes_all_the_time() -> None:
    def compute() -> None:
        while not over.is_set():
            sum(range(2_000_000))  # holds the interpreter's lock for as long as the switch interval lets it

    over = threading.Event()
    busy = [threading.Thread(target=compute) for _ in range(2)]
    with opened("plug:thirds,far") as meters:
        for thread in busy:
            thread.start()
        try:
            tape = recorded(meters, 100)
        finally:
            over.set()
        for thread in busy:
            thread.join()
    for meter in meters:
        values = [sample.value for sample in tape.samples() if sample.channel == f"{meter.name}.power"]
        step = 1 / 3 if meter.name == "plug.thirds" else 1.0
        assert values == [pytest.approx(step * count) for count in range(1, len(values) + 1)]
        assert [c["reads"] for c in tape.costs() if c["meter"] == meter.name] == [len(values)]


def test_a_process_that_dies_is_a_fault_and_the_run_goes_on() -> None:
    with opened("plug:thirds,far") as meters:
        with recording(meters, SystemClock(), dropped) as tape:
            wait_for(lambda: len(tape.samples()) >= 10)
            process(meters).send_signal(signal.SIGKILL)
            wait_for(lambda: troubles(tape))
            kept = len(tape.samples())
        (lost,) = troubles(tape)
        assert (lost["event"], lost["meters"]) == ("sampler_lost", ["plug.thirds", "plug.far"])
        assert "ended by signal 9" in lost["why"]
        assert len(tape.samples()) == kept
        again = recorded(meters, 0)
        assert [fault["event"] for fault in troubles(again)] == ["sampler_lost"]


def test_the_last_words_of_a_process_that_crashes_are_in_the_fault() -> None:
    with opened("plug:crashes") as meters, recording(meters, SystemClock(), dropped) as tape:
        wait_for(lambda: troubles(tape))
    (lost,) = troubles(tape)
    assert "the vendor's library gives up" in lost["why"]
    assert "in _crashes" in lost["why"]  # the stack, as faulthandler tells it
    assert f"signal {int(signal.SIGABRT)}" in lost["why"]


def test_what_a_meter_prints_stays_out_of_the_messages() -> None:
    with opened("plug:says") as meters:
        tape = recorded(meters)
    assert [sample.value for sample in tape.samples()][:5] == [1.0, 2.0, 3.0, 4.0, 5.0]
    (said,) = troubles(tape)
    assert said["event"] == "sampler_said"
    assert "a line on stdout" in said["why"]


def test_faults_come_over_as_they_happen() -> None:
    seen: list[Event] = []
    with opened("plug:cut,bug") as meters, recording(meters, SystemClock(), dropped, seen.append):
        wait_for(lambda: len([event for event in seen if event["event"].startswith("meter_")]) >= 5)
    told = [(fault["event"], fault["meter"]) for fault in seen if fault["event"].startswith("meter_")]
    assert [one for one in told if one[1] == "plug.cut"] == [("meter_error", "plug.cut")] * 3 + [
        ("meter_back", "plug.cut")
    ]
    assert [one for one in told if one[1] == "plug.bug"] == [("meter_dead", "plug.bug")]
    (why,) = [fault["why"] for fault in seen if fault["meter"] == "plug.bug" and fault["event"] == "meter_dead"]
    assert "KeyError" in why
    assert "plugin_meters.py" in why


def test_signals_to_a_whole_group_do_not_take_the_last_samples() -> None:
    with opened("plug:thirds") as meters:
        child = process(meters)
        assert os.getsid(child.pid) == child.pid != os.getsid(0)
        with recording(meters, SystemClock(), dropped) as tape:
            for number in (signal.SIGINT, signal.SIGTERM):
                child.send_signal(number)
            wait_for(lambda: len(tape.samples()) >= 20)
    assert troubles(tape) == []


def test_a_process_that_does_not_answer_any_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "STOP_S", 0.2)
    with opened("plug:thirds") as meters:
        with recording(meters, SystemClock(), dropped) as tape:
            wait_for(tape.samples)
            process(meters).send_signal(signal.SIGSTOP)
        (lost,) = troubles(tape)
    assert lost["event"] == "sampler_lost"
    assert "did not end" in lost["why"]


def test_closing_ends_the_process_and_leaves_nothing_open() -> None:
    with opened("plug:thirds"):
        pass  # what is opened once and for all
    files, threads = os.listdir("/proc/self/fd"), threading.active_count()
    with opened("plug:thirds", "plug:far") as meters:
        recorded(meters)
        child = process(meters)
        meters[0].close()
        meters[0].close()
        assert not is_gone(child)
        meters[1].close()
        assert is_gone(child)
    assert (os.listdir("/proc/self/fd"), threading.active_count()) == (files, threads)


def test_a_meter_that_hangs_as_it_closes_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "CLOSE_S", 0.2)
    with opened("plug:slow_to_close") as meters:
        child = process(meters)
    assert is_gone(child)


def test_opening_nothing_starts_nothing() -> None:
    before = psutil.Process().children()
    assert open_meters([], apart=True) == []
    assert psutil.Process().children() == before


def test_a_reading_at_a_time_and_one_recording_after_the_other() -> None:
    with opened("plug:thirds") as meters:
        assert meters[0].read() == [("plug.thirds.power", 1 / 3, None)]
        first, second = recorded(meters), recorded(meters)
        with recording(meters, SystemClock(), dropped), pytest.raises(MeterError, match="look at the tape"):
            meters[0].read()
        assert meters[0].read()
    values = [sample.value for tape in (first, second) for sample in tape.samples()]
    assert values == [count / 3 for count in range(2, len(values) + 2)]


def test_meters_here_and_there_share_a_tape() -> None:
    here = open_meters(["plug:far"])
    with opened("plug:clocked,thirds") as there, recording([*here, *there], SystemClock(), dropped) as tape:
        wait_for(lambda: all(tape.latest(one.channels()[0].id) for one in (*here, *there)))
    assert {sample.channel for sample in tape.samples()} == {
        "plug.far.power",
        "plug.thirds.power",
        "plug.clocked.power",
    }
    assert troubles(tape) == []


ORPHAN = """
import sys, time
sys.path.insert(0, {folder!r})
from tcabench.clock import SystemClock
from tcabench.power import open_meters, recording
meters = open_meters(["plug:{kind}"], apart=True)
with recording(meters, SystemClock(), lambda samples: None):
    print(meters[0].sampler.pid, flush=True)
    time.sleep(3600)
"""


@pytest.mark.parametrize("kind", ["thirds", "lingers", "slow_to_close"])
def test_a_run_that_is_killed_leaves_no_orphan(plugin: Path, kind: str) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", ORPHAN.format(folder=str(plugin), kind=kind)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert run.stdout is not None
        child = psutil.Process(int(run.stdout.readline()))
        assert not is_gone(child)
    finally:
        run.kill()
        run.wait()
        if run.stdout is not None:
            run.stdout.close()
    wait_for(lambda: is_gone(child))


def test_a_process_that_stands_still_is_told_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SILENT_NS", 1_000_000_000)
    with opened("plug:thirds") as meters, recording(meters, SystemClock(), dropped) as tape:
        wait_for(lambda: len(tape.samples()) >= 5)
        process(meters).send_signal(signal.SIGSTOP)
        wait_for(lambda: events(tape, "sampler_silent"))
        process(meters).send_signal(signal.SIGCONT)
        seen = len(tape.samples())
        wait_for(lambda: len(tape.samples()) > seen)
    (silent,) = events(tape, "sampler_silent")
    assert silent["meters"] == ["plug.thirds"]
    assert "has sent nothing for" in silent["why"]


def test_a_process_that_still_opens_a_meter_ends_with_the_one_that_asked(tmp_path: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); from tcabench.power import open_meters; "
    code += "open_meters(['plug:opens_for_ever'], apart=True)"
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        wait_for(lambda: psutil.Process(parent.pid).children())
        (child,) = psutil.Process(parent.pid).children()
        wait_for(lambda: "tcabench.power.sampler" in " ".join(child.cmdline()))
        time.sleep(1)  # past the start of the interpreter, into the meter
    finally:
        parent.kill()
        parent.wait(10)
    wait_for(lambda: is_gone(child))
