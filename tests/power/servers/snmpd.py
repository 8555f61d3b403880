"""Debian's own snmpd (Net-SNMP) as a peer that nobody here wrote, with a played PDU behind it.

    with snmpd(lambda t: 400.0) as peer:
        open_snmp(f"//127.0.0.1:{peer.port}?map=raritan-px")

Community "public"; users of USERS by name, secrets AUTH_SECRET and PRIV_SECRET. Knobs: `kill()` and `start()` (a power
cut: what it had not yet written down it forgets, its engine's name for one), `end()` and `start()` (a reboot: the
engine counts it), `lose_memory(same_engine)` between them, `stop()` and `go_on()` (silence), `objects`, `load`. Its
hrSystemDate is the machine's.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.power.servers.played import PlayedLoad
from tests.power.servers.snmp_devices import DEVICES, Device, Object

AUTH_SECRET, PRIV_SECRET = "correct horse", "battery staple"
USERS = {"tca": ("SHA-256", "AES"), "old": ("SHA", "AES"), "long": ("SHA-512", "AES-256"),
         "stretched": ("SHA", "AES-256"), "stretchedc": ("SHA", "AES-256-C")}  # fmt: skip
RELAY = Path(__file__).with_name("snmpd_relay.py")
TYPES = {"integer": "integer", "gauge": "gauge", "counter": "counter", "string": "string"}
START_S, STARTS = 20.0, 3


class Snmpd:
    """What `snmpd` gives."""

    def __init__(self, watts: Callable[[float], float], kind: str, folder: Path) -> None:
        self.load = PlayedLoad(watts)
        self.device = Device(self.load)
        self.objects: dict[str, Object] = DEVICES[kind](self.device)
        self.port, self._folder, self._child = 0, folder, None
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._take_questions, name="snmpd answers", daemon=True).start()
        self._write_settings()

    _child: "subprocess.Popen[bytes] | None"

    def start(self) -> None:
        """Start it, on the same port as before where there was one."""
        for _ in range(STARTS):
            port = self.port or _free_port()
            self._child = subprocess.Popen(
                ["/usr/sbin/snmpd", "-f", "-Lo", "-C", "-c", self._folder / "snmpd.conf", "-I", "-smux",
                 f"udp:127.0.0.1:{port}"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env=os.environ | {"MIBS": "", "SNMP_PERSISTENT_DIR": str(self._folder / "kept")},
            )  # fmt: skip
            if self._is_up():
                self.port = port
                return
        raise RuntimeError("snmpd did not start")

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._child is not None:
            self._child.send_signal(signal.SIGCONT)
            self._child.kill()
            self._child.wait()
            if self._child.stdout:
                self._child.stdout.close()
            self._child = None

    def end(self) -> None:
        """Shut it down: it writes down what it is and how often it started."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait()
        self.kill()

    def lose_memory(self, same_engine: bool) -> None:
        """It has never started, as it will think; as the engine it is, or as another."""
        kept = self._folder / "kept" / "snmpd.conf"
        lines = kept.read_text().splitlines()
        dropped = ("engineBoots",) if same_engine else ("engineBoots", "oldEngineID", "usmUser")
        kept.write_text("".join(f"{line}\n" for line in lines if not line.startswith(dropped)))

    def stop(self) -> None:
        """It answers nothing any more."""
        if self._child is not None:
            self._child.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        if self._child is not None:
            self._child.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        self._listener.close()

    def _is_up(self) -> bool:
        """It says its version when it is ready; what it says afterwards is read and dropped."""
        said = self._child.stdout if self._child else None
        for line in said or ():
            if line.startswith(b"NET-SNMP version"):
                threading.Thread(target=_drain, args=(said,), name="snmpd says", daemon=True).start()
                return True
        self.kill()
        return False

    def _write_settings(self) -> None:
        relay = f"{sys.executable} -ES {RELAY} {self._listener.getsockname()[1]}"
        roots = {".".join(name.split(".")[:7]) for name in self.objects if not name.startswith("1.3.6.1.2.1.25")}
        lines = ["rocommunity public 127.0.0.1", *(f"pass_persist .{root} {relay}" for root in roots)]
        for user, (auth, priv) in USERS.items():
            lines += [f'createUser {user} {auth} "{AUTH_SECRET}" {priv} "{PRIV_SECRET}"', f"rouser {user} authPriv"]
        (self._folder / "snmpd.conf").write_text("\n".join(lines) + "\n")

    def _take_questions(self) -> None:
        with suppress(OSError):  # closed at the end
            while True:
                line, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(line,), name="snmpd relay", daemon=True).start()

    def _answer(self, line: socket.socket) -> None:
        with line, line.makefile("rw") as relay, suppress(OSError):
            for asked in relay:
                relay.write(self._held(asked.strip().lstrip(".")))
                relay.flush()

    def _held(self, name: str) -> str:
        if name not in self.objects:
            return "NONE\n\n\n"
        kind, value = self.objects[name]
        return f".{name}\n{TYPES[kind]}\n{value()!s}\n"


@contextmanager
def snmpd(watts: Callable[[float], float], kind: str = "raritan-px") -> Iterator[Snmpd]:
    """A running snmpd on 127.0.0.1 that plays `watts` (W over s since its start) as the device `kind` of DEVICES."""
    with TemporaryDirectory() as folder:
        peer = Snmpd(watts, kind, Path(folder))
        try:
            peer.start()
            yield peer
        finally:
            peer.close()


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        port: int = line.getsockname()[1]
        return port


def _drain(said: "Iterator[bytes] | None") -> None:
    with suppress(ValueError):  # closed at the end
        for _ in said or ():
            pass
