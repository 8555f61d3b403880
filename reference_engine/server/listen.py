"""The listening process: load, bind, say so on stdout in one JSON line, serve until told to stop."""

import asyncio
import ipaddress
import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from reference_engine.config import EngineConfig
from reference_engine.constrain import Grammars
from reference_engine.engine import Engine, Observer
from reference_engine.errors import EngineError
from reference_engine.model.device import choose_device
from reference_engine.model.opened import Source, open_model, open_tokenizer
from reference_engine.model.random_weights import RandomModel
from reference_engine.server.app import build_app
from reference_engine.server.bridge import Bridge
from reference_engine.server.door import Door, read_keys
from reference_engine.server.service import Service
from reference_engine.telemetry import Metrics, RequestLog

DRAIN_S, LAST_CALL_S, DRAIN_LOOK_S = 30, 2, 0.02
KEEP_ALIVE_S = 75  # longer than clients keep idle connections, or they would send into one that is just being closed


@dataclass(frozen=True, slots=True)
class ServePlan:
    """What `serve` was asked for. `port` 0 takes any free one; `max_requests` are answered at a time."""

    weights: Source
    name: str
    host: str
    port: int
    config: EngineConfig
    kernels: str
    device: str
    exact: bool
    threads: int | None
    request_log: Path | None
    exit_with_parent: bool
    api_key_file: Path | None
    max_requests: int


def serve(plan: ServePlan) -> None:
    """Serve until SIGTERM or SIGINT; answers under way are finished first (at most 30 s).

    raises: EngineError when the model, the address or the log cannot be used; KeyboardInterrupt after SIGINT.
    """
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(0)
    )  # while loading; then uvicorn drains first and raises it again
    if plan.exit_with_parent:
        threading.Thread(target=_watch_stdin, name="parent", daemon=True).start()
    door = Door(read_keys(plan.api_key_file), plan.max_requests)
    listening = _bind(plan.host, plan.port)  # before the model: a taken port should not cost a load
    _warn_if_open(listening, door)
    service, ready = _load(plan, listening)
    config = uvicorn.Config(
        build_app(service, door),
        log_level="warning",
        lifespan="on",
        timeout_graceful_shutdown=LAST_CALL_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        server_header=False,
    )
    server = _Server(config, ready, service.bridge, door)
    server.run(sockets=[listening])
    if server.is_interrupted:  # uvicorn raises the signal once more when all is done, where it may be swallowed
        raise KeyboardInterrupt


class _Server(uvicorn.Server):
    """Prints the ready line once connections are really accepted, and ends the last answers in good form."""

    def __init__(self, config: uvicorn.Config, ready: dict[str, Any], bridge: Bridge, door: Door) -> None:
        super().__init__(config)
        self._ready, self._bridge, self._door = ready, bridge, door
        self.is_interrupted = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, as uvicorn does; and remember what for."""
        self.is_interrupted |= sig == signal.SIGINT
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain: answers under way go on while who comes now is told 503, and /health says why. Who still waits when
        the time is nearly over gets an error and not a broken connection."""
        self._door.draining, end = True, time.monotonic() + DRAIN_S - LAST_CALL_S
        while self._door.in_flight and time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(DRAIN_LOOK_S)
        self._bridge.last_call()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            print(json.dumps(self._ready), flush=True)


def _load(plan: ServePlan, listening: socket.socket) -> tuple[Service, dict[str, Any]]:
    """The service, and the ready line that describes it."""
    started = time.monotonic()
    metrics = Metrics(plan.name)
    observers: list[Observer] = [metrics]
    if plan.request_log is not None:
        observers.append(_open_log(plan.request_log))
    bridge = Bridge(lambda: _build(plan, observers))
    engine, weights_sha256 = bridge.engine, bridge.engine.model.weights_sha256
    tokenizer = open_tokenizer(plan.weights, weights_sha256)
    grammars = Grammars(tokenizer.fast, engine.spec)
    is_random = isinstance(plan.weights, RandomModel)
    levers = plan.config.levers | ({} if plan.exact else {"gpu-bfloat16": "approximate"})
    started_unix_s = int(time.time())
    service = Service(
        plan.name, weights_sha256, started_unix_s, bridge, tokenizer, metrics, grammars, levers, is_random
    )
    print(f"{plan.name} loaded in {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    host, port = listening.getsockname()[:2]
    return service, {
        "listening": f"http://{f'[{host}]' if ':' in host else host}:{port}",
        "model": plan.name,
        "weights": str(plan.weights) if isinstance(plan.weights, RandomModel) else str(plan.weights.resolve()),
        "random_weights": is_random,
        "levers": levers,
        "device": str(choose_device(plan.device)),
        "dtype": "float32" if plan.exact else "bfloat16",
        "kernels": engine.model.kind,
        "weights_sha256": weights_sha256,
        "tokenizer": None if tokenizer.file is None else str(tokenizer.file.resolve()),
        "context_tok": engine.context_tok,
        "pid": os.getpid(),
    }


def _build(plan: ServePlan, observers: list[Observer]) -> Engine:
    device = choose_device(plan.device)
    model = open_model(plan.weights, plan.config, device, plan.exact, plan.kernels, plan.threads)
    return Engine(model, plan.config, observers)


def _open_log(file: Path) -> RequestLog:
    try:
        return RequestLog(file)
    except OSError as err:
        raise EngineError(f"the request log {file} cannot be written: {err.strerror}", "log") from err


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket. raises: EngineError when the address is taken, not ours or not one."""
    if not 0 <= port <= 65_535:  # the resolver would take such a number modulo 65,536
        raise EngineError(f"port {port} does not exist; ports run from 0 to 65535", "address")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as err:
        raise EngineError(f"cannot listen on {host}:{port}: {err}", "address") from err
    return listening


def _warn_if_open(listening: socket.socket, door: Door) -> None:
    host = listening.getsockname()[0]
    if not door.keys and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        print(
            f"warning: {host} can be reached by others and no API key is set; see --api-key-file",
            file=sys.stderr,
            flush=True,
        )


def _watch_stdin() -> None:
    """Ask this process to end when whoever holds the other end of stdin has gone."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
