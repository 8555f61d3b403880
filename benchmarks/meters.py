"""The meters' benchmark: `make bench-meters`, or `python benchmarks/meters.py [--quick] [--only PART,...]`.

See README.md for what each figure is. Writes results/meters.json.
"""

import argparse
import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.figures import Figures, Measured

ROUNDS, QUICK = 3, 0.1
RESULT = Path(__file__).parent / "results" / "meters.json"
PROCESSES = 2
PEER = "meters"
Part = Callable[[int, float, Path], Iterator[Measured]]


def coverage(number: int, share: float, folder: Path) -> Iterator[Measured]:
    """Simulated meters: whether the stated interval holds the truth."""
    from benchmarks.meters_coverage import measure

    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        yield from measure(number, share, pool)


def marker(number: int, share: float, folder: Path) -> Iterator[Measured]:
    """Simulated meters: what the load marker tells of their delay."""
    from benchmarks.meters_marker import measure

    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        yield from measure(number, share, pool)


def truth(number: int, share: float, folder: Path) -> Iterator[Measured]:
    """Every meter's protocol server against what was drawn."""
    from benchmarks.meters_truth import measure

    return measure(number, share, folder)


def peer(number: int, share: float, folder: Path) -> Iterator[Measured]:
    """Against zeus."""
    from benchmarks.meters_peer import measure
    from benchmarks.peer import interpreter

    return measure(number, share, folder, interpreter(PEER))


def cost(number: int, share: float, folder: Path) -> Iterator[Measured]:
    """The sampler's processor time."""
    from benchmarks.meters_cost import cost as measure

    return measure(number, share, folder)


def lateness(number: int, share: float, folder: Path) -> Iterator[Measured]:
    """How late readings come beside a busy load generator."""
    from benchmarks.meters_cost import lateness as measure

    return measure(number, share, folder)


PARTS: Mapping[str, Part] = {
    "truth": truth, "coverage": coverage, "marker": marker, "peer": peer, "cost": cost, "lateness": lateness,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write; 0."""
    asked = _asked(arguments)
    figures = Figures()
    folder = Path(tempfile.mkdtemp(prefix="bench-meters-"))
    try:
        for number in range(asked.rounds):
            for name in asked.only:
                print(f"round {number + 1} of {asked.rounds}: {name}", flush=True)
                figures.take(PARTS[name](number, asked.share, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures.show(f"meters: {asked.rounds} round(s), {100 * asked.share:g} % of the runs in each")
    if asked.out is None:
        print("not written, for it is not the whole benchmark: --out FILE would write it")
    else:
        figures.write(asked.out, versions("peer" in asked.only), asked.rounds)
        print(f"written to {asked.out}")
    return 0


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"--share {QUICK} --rounds 1: does it still run?")
    parser.add_argument("--share", type=float, help="how much of each part (1)")
    parser.add_argument("--rounds", type=int, help=f"how often all parts are measured in turn ({ROUNDS})")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, help=f"the JSON (of all in full: results/{RESULT.name})")
    asked = parser.parse_args(arguments)
    asked.only = asked.only.split(",")
    if unknown := set(asked.only) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: known are {', '.join(PARTS)}")
    asked.rounds = asked.rounds or (1 if asked.quick else ROUNDS)
    asked.share = asked.share or (QUICK if asked.quick else 1.0)
    if asked.share >= 1 and asked.rounds >= ROUNDS and set(asked.only) == set(PARTS):
        asked.out = asked.out or RESULT
    return asked


def versions(with_peer: bool) -> dict[str, str]:
    """What was measured, and with what."""
    ours = ("tcabench", "nvidia-ml-py", "pymodbus", "pysnmp", "urllib3", "aiomqtt", "bacpypes3", "aiohttp")
    found = {name: importlib.metadata.version(name) for name in ours}
    found |= {"commit": _said("git", "describe", "--always", "--dirty")}
    if shutil.which("prometheus"):
        found |= {"prometheus": _said("prometheus", "--version").split(" ")[2]}
    if with_peer:
        from benchmarks.peer import interpreter

        code = "import importlib.metadata as m; print(m.version('zeus'))"
        found |= {"zeus": _said(str(interpreter(PEER)), "-c", code)}
    return found


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
