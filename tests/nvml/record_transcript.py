"""Records what NVML says of a real GPU while a load runs, for tests/transcripts/nvml/.

    python tests/nvml/record_transcript.py tests/transcripts/nvml/h100.jsonl --meter nvml:0 -- COMMAND OF THE LOAD

Idles, starts the command, warms up, measures, stops the command, and writes power, energy counter, clocks, temperature,
power limit, throttle reasons and utilisation, as sampled by the product's own sampler. UUIDs are left out.

No transcript of a real GPU is in the repository yet: no machine with one was at hand when this was written. The tests
replay one recorded from the stand-in library, and every file that is put into tests/transcripts/nvml/ from then on.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tcabench.clock import SystemClock
from tcabench.power import Meter, Tape, open_meters, recording
from tcabench.records import PowerSample, Window

SCHEMA = "tcabench/meter-transcript/v1"


def main() -> int:
    options = _options()
    meters = open_meters([options.meter])
    clock = SystemClock()
    try:
        with recording(meters, clock, _kept_on_tape) as tape:
            window = _phases(options, clock)
    finally:
        for meter in meters:
            meter.close()
    for fault in tape.faults():
        print(json.dumps(fault), file=sys.stderr)
    _write(options.out, meters, tape, window, " ".join(options.command))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--meter", default="nvml")
    parser.add_argument("--idle", type=float, default=10, help="s before the load")
    parser.add_argument("--warmup", type=float, default=20, help="s of load before the window")
    parser.add_argument("--measure", type=float, default=60, help="s of the window")
    parser.add_argument("command", nargs="+", help="the load; it is stopped when the window ends")
    return parser.parse_args()


def _phases(options: argparse.Namespace, clock: SystemClock) -> Window:
    idle_start_ns = clock.now_ns()
    clock.sleep(options.idle)
    idle_end_ns = clock.now_ns()
    with subprocess.Popen(options.command) as load:
        clock.sleep(options.warmup)
        start_ns = clock.now_ns()
        clock.sleep(options.measure)
        end_ns, ended_early = clock.now_ns(), load.poll()
        load.terminate()
    time.sleep(1)
    if ended_early is not None:
        raise SystemExit(f"the load ended by itself with code {ended_early} before the window did: nothing is written")
    return Window(idle_start_ns, idle_end_ns, idle_end_ns, start_ns, end_ns, clock.now_ns(), "planned duration reached")


def _write(out: Path, meters: Sequence[Meter], tape: Tape, window: Window, load: str) -> None:
    facts = {
        f"{meter.name}.{name}": dict(fact) for meter in meters for name, fact in meter.facts().items() if name != "uuid"
    }
    channels = [asdict(channel) for meter in meters for channel in meter.channels()]
    head = {"schema": SCHEMA, "channels": channels, "facts": facts, "window": asdict(window), "load": load}
    lines = [head, *([s.t_ns, s.read_ns, s.channel, s.value] for s in tape.samples())]
    out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _kept_on_tape(samples: Sequence[PowerSample]) -> None:
    """The tape holds them all; there is no journal to write."""


if __name__ == "__main__":
    sys.exit(main())
