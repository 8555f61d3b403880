"""Records what NVML says of a real GPU while a known load runs, for tests/transcripts/nvml/.

    python tests/nvml/record_transcript.py tests/transcripts/nvml/h200.jsonl --meter nvml:0

Rest, steady load, rest, then the load on and off in square waves of several periods; written are energy counter,
instant and averaged power, module and memory power, clocks, temperature, power limit, throttle reasons, utilisation and
processes as sampled by the product's own sampler, with the instants of every switch, and printed is what the tool
concludes. UUIDs are left out. About 4 minutes with the periods as they are. Whatever stands after `--` is run in place
of the switching load for the steady part; there are no square waves then.

No transcript of a real GPU is in the repository yet: no machine with one was at hand when this was written. The tests
replay one recorded from the stand-in library, and every file that is put into tests/transcripts/nvml/ from then on.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from tcabench.clock import SystemClock
from tcabench.power import Meter, Tape, open_meters, recording
from tcabench.records import PowerSample, Window

sys.path.insert(0, str(Path(__file__).parent))
from conclusions import in_words
from transcript import SCHEMA, Phase, read

SWITCHING = Path(__file__).with_name("switching_load.py")
LEAST_WAVES = 10


class Load(Protocol):
    def on(self) -> None: ...

    def off(self) -> None: ...


def main() -> int:
    options = _options()
    meters, clock = open_meters([options.meter]), SystemClock()
    phases: list[Phase] = []
    edges: list[tuple[int, bool]] = []
    try:
        with _load(options, edges) as load, recording(meters, clock, _kept_on_tape) as tape:
            _run(options, load, clock, phases)
    finally:
        for meter in meters:
            meter.close()
    for fault in tape.faults():
        print(json.dumps(fault), file=sys.stderr)
    _write(options, meters, tape, phases, edges)
    print(in_words(read(options.out)))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--meter", default="nvml:0")
    parser.add_argument("--idle", type=float, default=20, help="s at rest, before and after the load")
    parser.add_argument("--warmup", type=float, default=20, help="s of load before the window")
    parser.add_argument("--measure", type=float, default=60, help="s of the window")
    waves = "s of the square waves, half on, half off; no multiples of 100 ms, or each wave meets the sensor alike"
    parser.add_argument("--periods", default="4.1,1.07,0.53,0.23,0.11", help=waves)
    parser.add_argument("--wave", type=float, default=20, help="s of each square wave, at least 10 periods")
    parser.add_argument("--switching", default="", help="arguments of switching_load.py")
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    return parser.parse_args(sys.argv[1:at], argparse.Namespace(command=sys.argv[at + 1 :]))


def _run(options: argparse.Namespace, load: Load, clock: SystemClock, phases: list[Phase]) -> None:
    _stay(phases, "idle before", options.idle, clock)
    load.on()
    _stay(phases, "warm-up", options.warmup, clock)
    _stay(phases, "load", options.measure, clock)
    load.off()
    _stay(phases, "cool-down", min(3.0, options.idle), clock)
    _stay(phases, "idle after", options.idle, clock)
    for period_s in () if options.command else [float(part) for part in options.periods.split(",")]:
        start_ns, half_s = clock.now_ns(), period_s / 2
        for half in range(2 * max(LEAST_WAVES, round(options.wave / period_s))):
            (load.off if half % 2 else load.on)()
            clock.sleep(max(0.0, half_s * (half + 1) - (clock.now_ns() - start_ns) / 1e9))
        phases.append(Phase(f"square wave of {period_s:g} s", start_ns, clock.now_ns(), period_s))
        load.off()
        _stay(phases, "between", min(2.0, options.idle), clock)


def _stay(phases: list[Phase], name: str, for_s: float, clock: SystemClock) -> None:
    start_ns = clock.now_ns()
    clock.sleep(for_s)
    phases.append(Phase(name, start_ns, clock.now_ns(), 0.0))


class Switching:
    """The load of switching_load.py. Each switch is noted in `edges` with its instant."""

    def __init__(self, child: "subprocess.Popen[str]", edges: list[tuple[int, bool]]) -> None:
        self._child, self._edges = child, edges

    def on(self) -> None:
        self._switch("on")

    def off(self) -> None:
        self._switch("off")

    def _switch(self, word: str) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        print(word, file=self._child.stdin, flush=True)
        _, _, at_ns = self._child.stdout.readline().partition(" ")
        self._edges.append((int(at_ns), word == "on"))


class Command:
    """Any other load, started and ended."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None

    def on(self) -> None:
        self._child = subprocess.Popen(self._command)

    def off(self) -> None:
        if self._child is None or (code := self._child.poll()) is not None:
            raise SystemExit(f"the load ended by itself with code {code} before the window did: nothing is written")
        self._child.terminate()
        self._child.wait()


@contextmanager
def _load(options: argparse.Namespace, edges: list[tuple[int, bool]]) -> Iterator[Load]:
    if options.command:
        yield Command(options.command)
        return
    command = [sys.executable, str(SWITCHING), *options.switching.split()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        if child.stdout.readline().strip() != "ready":
            raise SystemExit(f"{SWITCHING.name} did not start: is there a torch with CUDA here? Give a load after --")
        yield Switching(child, edges)
        child.stdin.close()


def _write(
    options: argparse.Namespace, meters: Sequence[Meter], tape: Tape, phases: Sequence[Phase],
    edges: Sequence[tuple[int, bool]],
) -> None:  # fmt: skip
    facts = {
        f"{meter.name}.{name}": dict(fact) for meter in meters for name, fact in meter.facts().items() if name != "uuid"
    }
    head: dict[str, Any] = {
        "schema": SCHEMA,
        "channels": [asdict(channel) for meter in meters for channel in meter.channels()],
        "facts": facts,
        "window": asdict(_window({phase.name: phase for phase in phases})),
        "load": " ".join(options.command) or f"{SWITCHING.name} {options.switching}",
        "phases": [asdict(phase) for phase in phases],
        "edges": [[at_ns, on] for at_ns, on in edges],
    }
    lines = [head, *([s.t_ns, s.read_ns, s.channel, s.value] for s in tape.samples())]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _window(phases: dict[str, Phase]) -> Window:
    before, load, after = phases["idle before"], phases["load"], phases["idle after"]
    return Window(
        before.start_ns, before.end_ns, phases["warm-up"].start_ns, load.start_ns, load.end_ns, load.end_ns,
        "planned duration reached", after.start_ns, after.end_ns,
    )  # fmt: skip


def _kept_on_tape(samples: Sequence[PowerSample]) -> None:
    """The tape holds them all; there is no journal to write."""


if __name__ == "__main__":
    sys.exit(main())
