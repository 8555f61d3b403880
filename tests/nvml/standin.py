"""Builds the stand-in `libnvidia-ml.so.1` and sets the scene for it.

    folder = build(tmp_path)
    subprocess.run([...], env=environment(folder, gpus=2, low_w=100, high_w=300))

Each keyword of `environment` becomes a STANDIN_NVML_* variable of libnvidia_ml.c, so any process that loads NVML sees
the scene; a whole `tcabench run --meter nvml` too.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("libnvidia_ml.c")
SCENES = frozenset(
    {
        "gpus",  # how many; GPU i draws (i + 1) times the waveform
        "low_w",  # W of GPU 0 in the first half of each period
        "high_w",  # W in the second half; low_w where not given
        "period_s",
        "levels",  # in place of the waveform: a file of "CLOCK_MONOTONIC-ns W" lines, as switching_load.py writes it
        "start_ns",  # CLOCK_MONOTONIC instant of the waveform's start; first nvmlInit where not given
        "step_ms",  # how often the energy counter steps
        "counter_gain",  # what the counter says of the true energy
        "counter_start_j",
        "reset_s",  # the counter starts again at 0 so long after the start
        "without",  # comma-separated: energy,instant,average,power,fields,utilisation,mig,temperature,limit ...
        "scopes",  # of the power fields beside the GPU's: module,memory
        "rest_of_module_w",  # what Grace and its memory draw, for the module's power
        "counts_module",  # 1: the energy counter covers the module, as on GH200
        "memory_share",  # of the GPU's power
        "update_ms",  # the instant power changes so often; 0: it is always as of now
        "window_ms",  # ... and is the mean over so long
        "reload_s",  # the driver is taken out so long after the start ...
        "reload_for_s",  # ... and is back so much later; what was open then is of no use any more
        "lost_gpu",  # this one falls off the bus ...
        "lost_after",  # ... after so many calls
        "denied_after",  # no permission after so many calls
        "init_fails",  # NVML error number of nvmlInit, 9: driver not loaded
        "mig",  # 1: MIG is on
        "name",
        "architecture",  # NVML number, 9: Hopper, 7: Ampere, 6: Turing
        "pci_device",  # hexadecimal, device id and vendor, 0x20B010DE: A100
        "capability",  # CUDA compute capability, 9.0
        "processes",  # other compute processes
        "own",  # 1: the last of them is the process that asks
        "graphics",  # processes with a graphics context; the first is a compute process, too
    }
)


def build(folder: Path, flags: Sequence[str] = ()) -> Path:
    """Compiles the stand-in into `folder` and gives back the folder. raises: RuntimeError where that fails."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("these tests need a C compiler (cc, gcc or clang) to build the NVML stand-in: install gcc")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-Wl,-soname,libnvidia-ml.so.1"]
    done = subprocess.run(
        [*command, *flags, "-o", str(target), str(SOURCE)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the NVML stand-in does not compile:\n{done.stderr}")
    return folder


def environment(folder: Path, **scene: object) -> dict[str, str]:
    """This process's environment, with the stand-in found first and the scene set. raises: ValueError."""
    if strange := sorted(scene.keys() - SCENES):
        raise ValueError(f"the NVML stand-in knows no {', '.join(strange)}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STANDIN_NVML_")}
    path = os.pathsep.join(filter(None, [str(folder), clean.get("LD_LIBRARY_PATH", "")]))
    return {
        **clean,
        "LD_LIBRARY_PATH": path,
        **{f"STANDIN_NVML_{key.upper()}": str(value) for key, value in scene.items()},
    }
