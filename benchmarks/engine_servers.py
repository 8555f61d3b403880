"""The servers that are compared. Each is started once and is stopped (SIGSTOP) while another one is measured: so rounds
can interleave on the same cores without loading, or compiling, anything twice."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.engine_client import Asked, Row, closed_loop
from benchmarks.peer import ROOT, interpreter

NAME = "SmolLM2-135M-Instruct"
MOST = 64  # requests in flight at most
CONTEXT_TOK = 2048  # of vLLM and llama.cpp, which would reserve or refuse by it
CACHE_SHARE = "0.2"  # of the free memory, for `transformers serve`, which would take nearly all; enough by far
START_S, STOP_S = 900.0, 20.0
PR_SET_PDEATHSIG = 1
Body = Callable[[Asked, int], dict[str, Any]]
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started and asked. `command` has {port} in it; `ready` answers 200 once it serves."""

    command: Sequence[str]
    path: str
    body: Body
    ready: str = "/health"
    env: Mapping[str, str] = field(default_factory=dict)
    is_pinned: bool = True  # every answer has as many tokens as were asked for; else what it counts is taken


def chat_body(**more: Any) -> Body:
    """Greedy, as many tokens as asked for; `more` is what keeps this server from ending earlier."""

    def build(asked: Asked, output_tok: int) -> dict[str, Any]:
        return {"model": NAME, "messages": asked.messages, "max_tokens": output_tok, "temperature": 0, **more}

    return build


def text_body(asked: Asked, output_tok: int) -> dict[str, Any]:
    """The same as rendered text, for a server whose chat endpoint stops at the template's end token by itself."""
    return {"model": NAME, "prompt": asked.text, "max_tokens": output_tok, "temperature": 0}


def serve_body(folder: Path) -> Body:
    """`transformers serve` knows the model by its folder, and takes the end tokens from a generation config; -1 is
    none."""

    def build(asked: Asked, output_tok: int) -> dict[str, Any]:
        config = json.dumps({"max_new_tokens": output_tok, "do_sample": False, "eos_token_id": -1})
        more = {"max_tokens": output_tok, "generation_config": config}
        return {"model": str(folder), "messages": asked.messages, **more}

    return build


def ours(gguf: Path, *options: str) -> Launch:
    """The bundled engine."""
    command = [sys.executable, "-m", "reference_engine", "serve", "--model", str(gguf), "--served-name", NAME]
    command += ["--port", "{port}", "--max-running", str(MOST), *options]
    return Launch(command, CHAT, chat_body(ignore_eos=True))


def vllm(folder: Path, dtype: str) -> Launch:
    """vLLM's CPU build, compiled, on all cores, with the OpenMP library that its documentation asks for."""
    python = interpreter("vllm")
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name"]
    command += [NAME, "--dtype", dtype, "--host", "127.0.0.1", "--port", "{port}", "--max-num-seqs", str(MOST)]
    command += ["--max-model-len", str(CONTEXT_TOK)]
    env = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CACHE_ROOT": str(python.parents[1] / "cache"), "LD_PRELOAD": str(python.parents[1] / "lib/libiomp5.so"),
        "OMP_NUM_THREADS": str(os.cpu_count()),
    }  # fmt: skip
    return Launch(command, CHAT, chat_body(ignore_eos=True), env=env)


def llama_cpp(gguf: Path) -> Launch:
    """llama-cpp-python's server, built for this very CPU, on the same file."""
    threads = str(os.cpu_count())
    command = [str(interpreter("llama_cpp")), str(Path(__file__).with_name("engine_llama.py")), "--model", str(gguf)]
    command += ["--host", "127.0.0.1", "--port", "{port}", "--n_ctx", str(CONTEXT_TOK), "--n_threads", threads]
    command += ["--n_threads_batch", threads, "--logits_all", "false", "--verbose", "false"]
    return Launch(command, COMPLETIONS, text_body, ready="/v1/models", is_pinned=False)


def transformers_serve(folder: Path) -> Launch:
    """`transformers serve` with continuous batching, in the product's own environment."""
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--host", "127.0.0.1"]
    command += ["--port", "{port}", "--device", "cpu", "--dtype", "float32", "--continuous-batching"]
    command += ["--cb-max-memory-percent", CACHE_SHARE]
    return Launch(command, CHAT, serve_body(folder), is_pinned=False)


class Server:
    """A running server: `row` lets it run for as long as the row takes."""

    def __init__(self, launch: Launch, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.launch, self.process, self.url = launch, process, f"http://127.0.0.1:{port}"

    def row(self, prompts: Sequence[Asked], concurrency: int, output_tok: int) -> Row:
        """What `prompts` cost. raises: RuntimeError where an answer, or its prompt, is not as long as it was asked."""
        bodies = [self.launch.body(prompt, output_tok) for prompt in prompts]
        with self.awake():
            row = closed_loop(self.url + self.launch.path, bodies, concurrency, self.process.pid)
        for asked, answer in zip(prompts, row.answers, strict=True):
            wanted, got = (len(asked.ids), output_tok), (answer.prompt_tok, answer.output_tok)
            if wanted != got and (self.launch.is_pinned or got[1] > output_tok):
                raise RuntimeError(f"{self.url} counted {got} prompt and output tokens, not {wanted}: {asked.text!r}")
        return row

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let the processes run, and stop them again."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def close(self) -> None:
        """End it, all of its processes."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


@contextmanager
def started(name: str, launch: Launch, folder: Path) -> Iterator[Server]:
    """`launch`, up and stopped again. It dies with this process. raises: RuntimeError with the end of its log."""
    port, log = _free_port(), folder / f"{name}.log"
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "PYTHONPATH": str(ROOT)}
    command = [part.replace("{port}", str(port)) for part in launch.command]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=os.environ | offline | launch.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            cwd=folder, start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
    server = Server(launch, port, process)
    try:
        _wait(server, log)
        with server.awake():
            pass
        yield server
    finally:
        server.close()


def _wait(server: Server, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.process.poll() is None:
        with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(server.url + server.launch.ready):
            return
        time.sleep(0.2)
    tail = "\n".join(log.read_text("utf-8", "replace").splitlines()[-30:])
    raise RuntimeError(f"{server.launch.command[0]} did not come up:\n{tail}")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
