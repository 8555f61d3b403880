"""Builds the stand-in `libamd_smi.so` and sets the scene for it.

    folder = build(tmp_path)
    subprocess.run([...], env=environment(folder, gpus=2, low_w=300, high_w=600))

AMD's own `amdsmi` module is what talks to it. Each keyword of `environment` becomes a STANDIN_AMD_* variable of
libamd_smi.c, so any process that loads AMD SMI sees the scene; a whole `tcabench run --meter amdsmi` too.
"""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

SOURCE = Path(__file__).with_name("libamd_smi.c")
SCENES = frozenset(
    {
        "gpus",  # how many; GPU i draws (i + 1) times the waveform
        "dies",  # 2: each odd GPU is the second die of the one before, tells 0, and is drawn for by that one
        "low_w",  # W of GPU 0 in the first half of each period
        "high_w",  # W in the second half; low_w where not given
        "period_s",
        "start_ns",  # CLOCK_MONOTONIC instant of the waveform's start; first amdsmi_init where not given
        "step_ms",  # how often the energy counter steps
        "step_uj",  # what one count is worth
        "counter_gain",  # what the counter says of the true energy
        "counter_start_j",
        "stuck",  # 1: the counter stands still
        "jump_s",  # so long after the start the counter ...
        "jump_j",  # ... takes this step
        "without",  # comma-separated: energy,power,current,average,temperature,clock,cap,activity,processes ...
        "cap",  # the power cap as the library tells it, 750e6 uW
        "activity_na",  # 1: the activity is not available
        "lost_gpu",  # this one is gone ...
        "lost_after",  # ... after so many calls
        "denied_after",  # no permission after so many calls
        "init_fails",  # AMD SMI status of amdsmi_init, 34: driver not loaded
        "name",
        "processes",  # on each GPU
    }
)


def build(folder: Path, leave_out: str = "") -> Path:
    """Compiles the stand-in into `folder` and gives back the folder. `leave_out` names a function it shall not have, as
    a library that is older than the binding. raises: RuntimeError where that fails."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("these tests need a C compiler (cc, gcc or clang) to build the stand-in: install gcc")
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(looked_for() - set(re.findall(r"^int (amdsmi_\w+)\(", SOURCE.read_text(), re.M)) - {leave_out})
    (folder / "others.h").write_text("".join(f"int {name}(void) {{ return NOT_SUPPORTED; }}\n" for name in others))
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{folder}"]
    target = folder / "libamd_smi.so"
    done = subprocess.run([*command, "-o", str(target), str(SOURCE)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the AMD SMI stand-in does not compile:\n{done.stderr}")
    return folder


def looked_for() -> set[str]:
    """The functions that the installed binding looks for when it is imported. raises: RuntimeError without it."""
    spec = find_spec("amdsmi")
    if spec is None or spec.origin is None:
        raise RuntimeError("these tests need the Python module amdsmi: pip install '.[test]'")
    wrapper = Path(spec.origin).with_name("amdsmi_wrapper.py").read_text()
    return set(re.findall(r"_libraries\['libamd_smi\.so'\]\.(\w+)", wrapper))


def environment(folder: Path, **scene: object) -> dict[str, str]:
    """This process's environment, with the stand-in found first and the scene set. raises: ValueError."""
    if strange := sorted(scene.keys() - SCENES):
        raise ValueError(f"the AMD SMI stand-in knows no {', '.join(strange)}")
    own = ("STANDIN_AMD_", "ROCM_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    path = os.pathsep.join(filter(None, [str(folder), clean.get("LD_LIBRARY_PATH", "")]))
    return {
        **clean,
        "LD_LIBRARY_PATH": path,
        **{f"STANDIN_AMD_{key.upper()}": str(value) for key, value in scene.items()},
    }
