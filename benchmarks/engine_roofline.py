"""How near the engine's decoding comes to what this machine could do at most, both measured in the same round.

The limit at batch n is the smaller of
  bandwidth  n / ((packed weights + n x KV of the mean context) / bytes read per second)
  compute    1 / (2 x weights / int8 multiply-adds per second + attention / float32 multiply-adds per second)
for an activation of 16 bits takes two int8 planes, and the weights' multiply-adds are one for each weight of the layers
and of the vocabulary head. The engine takes three (24 bits), for two change tokens; what it reaches of the limit with
three is told too. Norms, rotary positions, softmax and the choice of the token cost nothing there.
"""

import json
import os
import re
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from benchmarks.engine_client import Asked, Row
from benchmarks.engine_servers import Server

SOURCE = Path(__file__).with_name("engine_roofline.c")
POLL_S = 0.1
PLANES, OURS_PLANES = 2, 3
COUNTERS = {
    "generated": "engine_generated_tokens_total", "computed": "engine_computed_tokens_total",
    "steps": "engine_steps_total", "step_s": "engine_step_seconds_sum",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Model:
    """What one token costs. `attention` and `kv_bytes` are for each token of its context."""

    packed_bytes: int
    weights: int
    kv_bytes: int
    attention: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Rates of all cores together, in bytes and multiply-adds per second."""

    read_b_s: float
    int8_mac_s: float
    fp32_mac_s: float

    def tokens_per_s(self, model: Model, batch: int, context_tok: float, planes: int = PLANES) -> float:
        """The limit of decoding `batch` requests at once."""
        read_s = (model.packed_bytes / batch + model.kv_bytes * context_tok) / self.read_b_s
        compute_s = planes * model.weights / self.int8_mac_s + model.attention * context_tok / self.fp32_mac_s
        return 1 / max(read_s, compute_s)


@cache
def model_of(gguf: Path) -> Model:
    """The sizes of the model in a GGUF file."""
    from gguf import GGUFReader

    reader = GGUFReader(gguf)
    tensors, fields = reader.tensors, reader.fields

    def number(name: str) -> int:
        return int(fields[f"llama.{name}"].contents())

    layers, heads, width = number("block_count"), number("attention.head_count"), number("embedding_length")
    kv_width = width // heads * number("attention.head_count_kv")
    return Model(
        packed_bytes=sum(int(tensor.n_bytes) for tensor in tensors),
        weights=sum(int(tensor.n_elements) for tensor in tensors if len(tensor.shape) > 1),
        kv_bytes=layers * 2 * kv_width * 4,
        attention=layers * 2 * width,
    )


def measured_machine(folder: Path, model: Model, seconds: float) -> Machine:
    """Compile the little program, if that was not done yet, and run it. raises: subprocess.CalledProcessError."""
    program = folder / "roofline"
    if not program.exists():
        flags = ["-O3", "-march=native", "-pthread"]
        subprocess.run([os.environ.get("CC", "cc"), *flags, str(SOURCE), "-o", str(program)], check=True)
    command = [str(program), str(os.cpu_count()), str(model.packed_bytes), str(seconds)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return Machine(said["read_b_s"], said["int8_mac_s"], said["fp32_mac_s"])


def between(a: Machine, b: Machine) -> Machine:
    """The mean of two measurements, one before and one after."""
    return Machine(*((getattr(a, name) + getattr(b, name)) / 2 for name in Machine.__slots__))


@dataclass(frozen=True, slots=True)
class Decoding:
    """`tokens_per_s` by the engine's own step times, over steps that only decoded and in which all were at it."""

    tokens_per_s: float
    context_tok: float
    row: Row


def decoding(server: Server, prompts: Sequence[Asked], batch: int, output_tok: int) -> Decoding:
    """Let `batch` requests at a time decode, and read the engine's counters meanwhile.

    raises: RuntimeError where there was no stretch in which `batch` requests only decoded.
    """
    seen: list[Mapping[str, float]] = []
    with _polled(f"{server.url}/metrics", seen):
        row = server.row(prompts, batch, output_tok)
    spans = [{name: b[name] - a[name] for name in COUNTERS} for a, b in pairwise(seen)]
    pure = [s for s in spans if s["steps"] > 0 and s["computed"] == s["generated"] == batch * s["steps"]]
    if not pure:
        raise RuntimeError(f"in {len(spans)} looks at {server.url} there was none at {batch} requests that only decode")
    context_tok = sum(len(prompt.ids) for prompt in prompts) / len(prompts) + output_tok / 2
    return Decoding(sum(s["generated"] for s in pure) / sum(s["step_s"] for s in pure), context_tok, row)


@contextmanager
def _polled(url: str, seen: list[Mapping[str, float]]) -> Iterator[None]:
    """The engine's counters, every `POLL_S`, into `seen`."""
    done = threading.Event()

    def poll() -> None:
        while not done.wait(POLL_S):
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    text = answer.read().decode()
            except OSError:
                return  # the last look may meet a server that sleeps again, and later one that has ended
            found = {
                name: re.search(rf"^{key}(?:{{.*}})? (\S+)$", text, re.MULTILINE) for name, key in COUNTERS.items()
            }
            seen.append({name: float(match[1]) for name, match in found.items() if match})

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(POLL_S)
