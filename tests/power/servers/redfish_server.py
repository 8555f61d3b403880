"""A Redfish service on loopback: TLS with a certificate of its own, sessions as in DSP0266, faults on demand."""

import asyncio
import base64
import random
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.power.servers.certificate import self_signed
from tests.power.servers.load_curve import LoadCurve
from tests.power.servers.redfish_tree import SESSIONS, Shown, State, tree

USER, PASSWORD = "monitor", "correct horse"
OPEN = ("", "/redfish", "/redfish/v1")
J_PER_KWH = 3_600_000


@dataclass(slots=True)
class Knobs:
    """The faults, to be turned while the server runs.

    `silent`: requests are taken and never answered. `frozen`: values stop, stamps go on. `stalled`: values and stamps
    stop. `drop_share`: share of requests whose connection is cut. `offset_s`: how far all clocks of the device are
    ahead. `sensing_s`: how often its sensors read; power is the mean over that time. `shown`: what it tells.
    `sessions`: how many it lets in.
    """

    silent: bool = False
    frozen: bool = False
    stalled: bool = False
    drop_share: float = 0.0
    offset_s: float = 0.0
    sensing_s: float = 0.2
    sessions: int = 4
    shown: Shown = field(default_factory=Shown)


class RedfishServer:
    """`port`, `ca` (the certificate's file) and `fingerprint` say how to reach it; `requests` are the paths asked for,
    `logins` how many sessions were opened, `open_sessions` how many stand open, `start_wall_s` the Unix time at which
    the load began."""

    def __init__(self, watts: Callable[[float], float], folder: Path, tls: bool) -> None:
        self.knobs, self.port, self.requests, self.logins = Knobs(), 0, list[str](), 0
        self.ca, self.fingerprint = Path(), ""
        self._load, self._start_s, self._zero_j = LoadCurve(watts), time.monotonic(), 0.0
        self.start_wall_s = time.time()
        self._context: ssl.SSLContext | None = None
        if tls:
            self.ca, key, self.fingerprint = self_signed(folder)
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(self.ca, key)
        self._tokens: dict[str, str] = {}
        self._held: State | None = None
        self._dice, self._loop = random.Random(7), asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="redfish server", daemon=True)

    @property
    def open_sessions(self) -> int:
        return len(self._tokens)

    def joules(self, t_s: float) -> float:
        """The truth: energy in J from the server's start to `t_s` after it."""
        return self._load.joules(t_s)

    def elapsed_s(self) -> float:
        return time.monotonic() - self._start_s

    def state(self) -> State:
        """What the sensors hold now."""
        knobs, elapsed_s = self.knobs, self.elapsed_s()
        wall_s = self.start_wall_s + elapsed_s + knobs.offset_s
        end_s = elapsed_s - elapsed_s % knobs.sensing_s
        energy_j = self._load.joules(end_s)
        power_w = self._load.mean(max(0.0, end_s - knobs.sensing_s), end_s) if end_s else self._load.watts(0.0)
        lifetime_j = 1000.0 * J_PER_KWH + energy_j
        fresh = State(power_w, energy_j - self._zero_j, lifetime_j, self.start_wall_s + knobs.offset_s + end_s, wall_s)
        if not (knobs.frozen or knobs.stalled):
            self._held = None
            return fresh
        self._held = held = self._held or fresh
        read_at_s = held.read_at_s if knobs.stalled else fresh.read_at_s
        return State(held.power_w, held.energy_j, held.lifetime_j, read_at_s, wall_s)

    def reset_counter(self) -> None:
        """As the ResetMetrics action: the energy starts again at 0, the lifetime's does not."""
        self._zero_j = self._load.joules(self.elapsed_s())

    def expire_sessions(self) -> None:
        self._tokens.clear()

    def kill(self) -> None:
        """Every connection is cut and the port closed; sessions are forgotten, as after a restart."""
        self._await(self._stop())
        self.expire_sessions()

    def revive(self) -> None:
        """Listen again on the same port."""
        self._await(self._serve())

    def start(self) -> None:
        self._thread.start()
        self._await(self._serve())

    def end(self) -> None:
        self._await(self._stop())
        self._await(asyncio.sleep(0.02))  # connections that never got through the handshake end by themselves
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _await(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self) -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._context).start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        if self._runner is not None:
            for connection in self._runner.server.connections if self._runner.server else ():
                if connection.transport is not None:
                    connection.transport.abort()  # a farewell over TLS would wait for the client's
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        while self.knobs.silent:
            await asyncio.sleep(0.02)
        if self._dice.random() < self.knobs.drop_share and request.transport is not None:
            request.transport.abort()
        response = await self._routed(request)
        response.headers["Date"] = formatdate(time.time() + self.knobs.offset_s, usegmt=True)
        response.headers["OData-Version"] = "4.0"
        return response

    async def _routed(self, request: web.Request) -> web.Response:
        path = request.path.rstrip("/")
        if path == SESSIONS and request.method == "POST":
            return self._login(await request.json())
        if path not in OPEN and not self._known(request):
            return _problem(401, "Base.1.19.NoValidSession", "There is no valid session established.")
        if path.startswith(f"{SESSIONS}/") and request.method == "DELETE":
            gone = [token for token, uri in self._tokens.items() if uri == path]
            return web.Response(status=204 if [self._tokens.pop(token) for token in gone] else 404)
        if request.method not in ("GET", "HEAD"):
            return _problem(405, "Base.1.19.OperationNotAllowed", "The HTTP method is not allowed on this resource.")
        resources = tree(self.state(), self.knobs.shown) | self._sessions()
        if path == "/redfish":
            return web.json_response({"v1": "/redfish/v1/"})
        if path not in resources:
            return _problem(404, "Base.1.19.ResourceMissingAtURI", f"The resource at the URI {path} was not found.")
        return web.json_response(resources[path])

    def _sessions(self) -> dict[str, dict[str, Any]]:
        members = [{"@odata.id": uri} for uri in self._tokens.values()]
        listed = {"@odata.id": SESSIONS, "@odata.type": "#SessionCollection.SessionCollection", "Name": "Sessions",
                  "Members": members, "Members@odata.count": len(members)}  # fmt: skip
        return {SESSIONS: listed} | {uri: _session(uri) for uri in self._tokens.values()}

    def _login(self, body: dict[str, str]) -> web.Response:
        if (body.get("UserName"), body.get("Password")) != (USER, PASSWORD):
            why = f"The login for {body.get('UserName')} with {body.get('Password')} failed."  # echoes, as some do
            return _problem(401, "Base.1.19.ResourceAtUriUnauthorized", why)
        if len(self._tokens) >= self.knobs.sessions:
            return _problem(503, "Base.1.19.SessionLimitExceeded", "The session establishment failed: too many.")
        self.logins += 1
        token, uri = secrets.token_hex(16), f"{SESSIONS}/{self.logins}"
        self._tokens[token] = uri
        return web.json_response(_session(uri), status=201, headers={"X-Auth-Token": token, "Location": uri})

    def _known(self, request: web.Request) -> bool:
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return request.headers.get("X-Auth-Token") in self._tokens or request.headers.get("Authorization") == basic


@contextmanager
def redfish_server(
    watts: Callable[[float], float], folder: Path, knobs: Knobs | None = None, tls: bool = True
) -> Iterator[RedfishServer]:
    """A running service on 127.0.0.1 that plays `watts` (seconds since its start -> W). `folder` takes its key."""
    server = RedfishServer(watts, folder, tls)
    server.knobs = knobs or server.knobs
    server.start()
    try:
        yield server
    finally:
        server.end()


def _session(uri: str) -> dict[str, Any]:
    id_ = uri.rpartition("/")[2]
    return {"@odata.id": uri, "@odata.type": "#Session.v1_8_0.Session", "Id": id_, "Name": f"Session {id_}",
            "UserName": USER}  # fmt: skip


def _problem(status: int, code: str, message: str) -> web.Response:
    more = {"@odata.type": "#Message.v1_3_0.Message", "MessageId": code, "Message": message}
    return web.json_response(
        {"error": {"code": code, "message": message, "@Message.ExtendedInfo": [more]}}, status=status
    )
