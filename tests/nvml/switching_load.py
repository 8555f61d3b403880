"""A load that goes on and off when told: matrix products on a GPU, or a log of levels for the stand-in library.

    python tests/nvml/switching_load.py [--gpu N] [--levels FILE --low W --high W]

Reads "on" and "off" from stdin, one a line, and answers each with the same word and the instant of the switch by
CLOCK_MONOTONIC in ns. Ends when stdin does. With --levels no GPU is used: the switches are appended to the file.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

SIDE = 8192  # one product of two such matrices takes 1 to 10 ms on a GPU of 2020 to 2026
Switch = Callable[[bool], int]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--levels", type=Path)
    parser.add_argument("--low", type=float, default=100)
    parser.add_argument("--high", type=float, default=500)
    options = parser.parse_args()
    switch = noted(options.levels, options.low, options.high) if options.levels else products(options.gpu)
    print("ready", flush=True)
    for line in sys.stdin:
        word = line.strip()
        print(word, switch(word == "on"), flush=True)
    return 0


def noted(levels: Path, low_w: float, high_w: float) -> Switch:
    """Appends each switch to the log; gives back its instant in ns."""

    def switch(on: bool) -> int:
        now_ns = time.monotonic_ns()
        with levels.open("a") as log:
            log.write(f"{now_ns} {high_w if on else low_w}\n")
        return now_ns

    return switch


def products(gpu: int) -> Switch:
    """Matrix products on a GPU until switched off. The instant of "on" is that before the first, the instant of "off"
    that after the last."""
    import torch

    matrix = torch.randn(SIDE, SIDE, device=f"cuda:{gpu}", dtype=torch.bfloat16)
    wanted, idle = threading.Event(), threading.Event()

    def run() -> None:
        while True:
            wanted.wait()
            idle.clear()
            while wanted.is_set():
                for _ in range(4):
                    torch.mm(matrix, matrix)
                torch.cuda.synchronize(gpu)
            idle.set()

    def switch(on: bool) -> int:
        now_ns = time.monotonic_ns()
        if on:
            wanted.set()
            return now_ns
        wanted.clear()
        idle.wait()
        return time.monotonic_ns()

    torch.mm(matrix, matrix)  # the libraries are loaded before anything is timed
    torch.cuda.synchronize(gpu)
    idle.set()
    threading.Thread(target=run, daemon=True).start()
    return switch


if __name__ == "__main__":
    sys.exit(main())
