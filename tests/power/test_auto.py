"""`auto`: accelerators, else processors, else the estimate; and always why."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.nvml import standin
from tests.power.servers import amdsmi_standin

Run = Callable[..., Any]
# RAPL looks at a tree that a thread advances here, not at this machine's
OPENED = """
import json, tempfile, logging
from functools import partial
from pathlib import Path
from tcabench.errors import TcaError
from tcabench.power import open_meters
from tcabench.power.meters import rapl
from tests.power.servers.rapl_tree import RaplTree
zones = {zones!r}
with tempfile.TemporaryDirectory() as folder:
    with RaplTree(Path(folder), {{name: ("package-0", lambda t: 80.0) for name in zones}}) as tree:
        opener = rapl.open_rapl
        rapl.open_rapl = partial(opener, powercap=tree.powercap, cpuinfo=tree.cpuinfo)
        try:
            meters = open_meters(["auto{argument}"])
        except TcaError as err:
            print(json.dumps([type(err).__name__, err.kind, str(err)]))
        else:
            print(json.dumps({{m.name: m.facts().get("chosen", {{}}).get("value") for m in meters}}))
            for meter in meters:
                meter.close()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both libraries side by side."""
    return Path(amdsmi_standin.build(standin.build(tmp_path_factory.mktemp("both"))))


@pytest.fixture
def auto(folder: Path) -> Run:
    """What `auto` opens: meter -> why it was chosen; and what it logs. `nvidia` and `amd` are scenes, None for a driver
    that is not there; `zones` names packages that RAPL shows."""

    def run(nvidia: Any = None, amd: Any = None, zones: tuple[str, ...] = (), argument: str = "") -> Any:
        env = amdsmi_standin.environment(folder, **({"init_fails": 34} if amd is None else amd))
        env |= {
            name: value
            for name, value in standin.environment(folder, **({"init_fails": 9} if nvidia is None else nvidia)).items()
            if name.startswith("STANDIN_NVML_")
        }
        done = subprocess.run(
            [sys.executable, "-c", OPENED.format(zones=zones, argument=argument)],
            env=env | {"PYTHONPATH": os.getcwd()}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    return run


def test_an_nvidia_gpu_is_taken_where_there_is_one_and_processors_are_left_out(auto: Run) -> None:
    meters, _ = auto(nvidia={}, zones=("intel-rapl:0",))
    assert list(meters) == ["nvml.gpu0", "nvml.gpu0.telemetry"]
    assert meters["nvml.gpu0"] == "chosen automatically: an NVIDIA GPU can be read here"


def test_an_amd_gpu_is_taken_where_there_is_one(auto: Run) -> None:
    meters, _ = auto(amd={}, zones=("intel-rapl:0",))
    assert list(meters) == ["amdsmi.gpu0", "amdsmi.gpu0.telemetry"]
    assert meters["amdsmi.gpu0"] == "chosen automatically: an AMD GPU can be read here"


def test_gpus_of_both_makers_are_taken_together(auto: Run) -> None:
    meters, _ = auto(nvidia={}, amd={})
    assert {"nvml.gpu0", "amdsmi.gpu0"} <= meters.keys()


def test_a_number_that_may_be_of_either_maker_is_refused(auto: Run) -> None:
    (class_name, kind, message), _ = auto(nvidia={}, amd={}, argument=":0")
    assert (class_name, kind) == ("UsageError", "meter-argument")
    assert "may be GPUs of amdsmi or of nvml" in message


def test_without_accelerators_the_processors_counters_are_taken(auto: Run) -> None:
    meters, _ = auto(zones=("intel-rapl:0",))
    assert list(meters) == ["rapl"]
    assert "no NVIDIA GPU can be read here" in meters["rapl"]
    assert "no AMD GPU can be read here" in meters["rapl"]
    assert meters["rapl"].endswith("the counters of the processors can be read here")


def test_cpu_leaves_accelerators_out(auto: Run) -> None:
    meters, _ = auto(nvidia={}, amd={}, zones=("intel-rapl:0",), argument=":cpu")
    assert list(meters) == ["rapl"]


def test_without_any_counter_it_is_the_estimate_and_every_reason_is_told(auto: Run) -> None:
    meters, said = auto()
    assert list(meters) == ["estimate"]
    for why in ("NVIDIA driver is not loaded", "amdgpu driver is not loaded", "shows no RAPL counters"):
        assert why in meters["estimate"]
    assert "power is estimated, not measured (grade E0)" in said


def test_accelerators_that_were_selected_and_are_not_there_are_an_error(auto: Run) -> None:
    (class_name, kind, message), _ = auto(zones=("intel-rapl:0",), argument=":0")
    assert (class_name, kind) == ("MeterError", "no-accelerator")
    assert "there are none: no NVIDIA GPU" in message
