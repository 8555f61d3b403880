"""The real Prometheus on loopback, scraping an exporter that plays a load; both with faults on demand."""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.power.servers.certificate import self_signed
from tests.power.servers.load_curve import LoadCurve

BINARY = "prometheus"
START_S = 60.0
READY = "ready to receive web requests"
USER, PASSWORD = "monitor", "correct horse"
# of PASSWORD: Prometheus takes no password but as a bcrypt hash
WEB = """basic_auth_users: {{monitor: $2b$04$j0Vr4e8dFOepX7JUeIhDZuuM0EERmb36qZGWTKVG8y76s/tGYPUeu}}
tls_server_config: {{cert_file: {certificate}, key_file: {key}}}
"""
CONFIG = """global: {{scrape_interval: {ms}ms, scrape_timeout: {ms}ms}}
scrape_configs:
- job_name: pdu
  static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


@dataclass(slots=True)
class Knobs:
    """The exporter's faults, to be turned while it runs. `silent`: it answers with an error. `frozen`: values stop.
    `nan`: the power is NaN."""

    silent: bool = False
    frozen: bool = False
    nan: bool = False


class Exporter:
    """`rack_watts`, `rack_joules_total` and `rack_kwh_total` (in steps of 0.001 kWh) of one load. `given` are the
    (watts, joules) that were scraped, in order."""

    def __init__(self, watts: Callable[[float], float]) -> None:
        self.knobs, self.given = Knobs(), list[tuple[float, float]]()
        self._load, self._start_s, self._zero_j = LoadCurve(watts), time.monotonic(), 0.0
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = exporter.page().encode()
                self.send_response(503 if exporter.knobs.silent else 200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing goes to stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def page(self) -> str:
        """What a scrape gets."""
        t_s = time.monotonic() - self._start_s
        if not (self.knobs.frozen and self.given):
            self.given.append((self._load.watts(t_s), self._load.joules(t_s) - self._zero_j))
        watts, joules = self.given[-1]
        power = "NaN" if self.knobs.nan else repr(watts)
        return (
            f'rack_watts{{pdu="7"}} {power}\n'
            f'rack_joules_total{{pdu="7"}} {joules!r}\n'
            f'rack_kwh_total{{pdu="7"}} {int(joules / 3600) / 1000!r}\n'
        )

    def reset_counter(self) -> None:
        """The energy starts again at 0."""
        self._zero_j = self._load.joules(time.monotonic() - self._start_s)

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class PrometheusServer:
    """A Prometheus of its own for an `exporter`, on `port`; with `guarded` it speaks TLS (its certificate is `ca`) and
    wants USER and PASSWORD."""

    def __init__(self, exporter: Exporter, folder: Path, interval_s: float, guarded: bool) -> None:
        self.exporter, self.port, self.ca, self._folder, self._more = exporter, 0, Path(), folder, list[str]()
        self._process: subprocess.Popen[bytes] | None = None
        self._config = folder / "prometheus.yml"
        self._config.write_text(CONFIG.format(ms=round(interval_s * 1000), port=exporter.port))
        if guarded:
            self.ca, key, _ = self_signed(folder)
            (folder / "web.yml").write_text(WEB.format(certificate=self.ca, key=key))
            self._more = [f"--web.config.file={folder / 'web.yml'}"]

    def start(self, scrapes: int = 3) -> None:
        """Listen, on the same port as before, until so many scrapes were made; Prometheus begins with them after 5 s.

        raises: RuntimeError with what it wrote, when it does not.
        """
        scraped = len(self.exporter.given)
        log = self._folder / "prometheus.log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [BINARY, f"--config.file={self._config}", f"--storage.tsdb.path={self._folder / 'data'}",
                 f"--web.listen-address=127.0.0.1:{self.port}", *self._more],
                stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        until = time.monotonic() + START_S
        # the answer to the next scrape comes after the one before was taken in
        wanted = scraped + scrapes + 1 if scrapes else 0
        while READY not in (text := log.read_text()) or len(self.exporter.given) < wanted:
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"prometheus does not start:\n{text[-2000:]}")
            time.sleep(0.02)
        found = re.search(r'Listening on" address=127\.0\.0\.1:(\d+)', text)
        if found is None:
            raise RuntimeError(f"prometheus does not say where it listens:\n{text[-2000:]}")
        self.port = int(found[1])

    def kill(self) -> None:
        """SIGKILL, as when a machine goes down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None


@contextmanager
def prometheus_server(
    watts: Callable[[float], float], folder: Path, interval_s: float = 0.2, guarded: bool = False, scrapes: int = 3
) -> Iterator[PrometheusServer]:
    """A running pair on 127.0.0.1 that has made so many scrapes; `watts` takes seconds since the start.

    raises: FileNotFoundError without the binary.
    """
    if shutil.which(BINARY) is None:
        raise FileNotFoundError("prometheus is not installed (Debian: apt-get install prometheus)")
    exporter = Exporter(watts)
    server = PrometheusServer(exporter, folder, interval_s, guarded)
    try:
        server.start(scrapes)
        yield server
    finally:
        server.kill()
        exporter.end()
