"""The HTTP connection of a meter: whom it trusts, where it goes, and that nothing a server sends can hold it up."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tcabench.errors import MeterError, UsageError
from tcabench.power.address import parse_address
from tcabench.power.meters.http_session import HTTP_OPTIONS, MAX_BODY, HttpSession
from tests.power.servers.redfish_server import RedfishServer, redfish_server

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
Serve = Callable[[socket.socket], None]
Open = Callable[..., HttpSession]


@pytest.fixture
def session() -> Iterator[Open]:
    """session("//host:port?option=value", "on"|"off") -> a session; all are closed at the end."""
    made: list[HttpSession] = []

    def call(text: str, tls: str = "off") -> HttpSession:
        made.append(HttpSession(parse_address("redfish", text, 443, HTTP_OPTIONS), tls))
        return made[-1]

    yield call
    for one in made:
        one.close()


@contextmanager
def listening(serve: Serve) -> Iterator[int]:
    """A TCP server whose connections are each handled by `serve`; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the test is over
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection: socket.socket) -> None:
        with connection:
            try:
                serve(connection)
            except OSError:
                return  # the client went away

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def sends(*answers: bytes) -> Serve:
    """Each request on a connection gets the next answer; then the connection is closed."""

    def serve(connection: socket.socket) -> None:
        for answer in answers:
            if not connection.recv(65536):
                return
            connection.sendall(answer)

    return serve


def dribbles(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    over = threading.Event()
    while not over.wait(0.02):
        connection.sendall(b"x")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedfishServer]:
    with redfish_server(lambda t: 100.0, tmp_path) as running:
        yield running


def test_one_connection_serves_many_requests(session: Open) -> None:
    connections = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        sends(*[HELLO] * 5)(connection)

    with listening(serve) as port:
        http = session(f"//127.0.0.1:{port}")
        assert [http.get("/").body for _ in range(5)] == [b"hello"] * 5
    assert len(connections) == 1


def test_a_connection_that_was_cut_in_between_is_made_anew(session: Open) -> None:
    with listening(sends(HELLO)) as port:
        http = session(f"//127.0.0.1:{port}")
        assert [http.get("/").body for _ in range(3)] == [b"hello"] * 3


def test_a_request_that_changes_something_is_never_sent_twice(session: Open) -> None:
    posted = []

    def serve(connection: socket.socket) -> None:
        while (request := connection.recv(65536)).startswith(b"GET"):
            connection.sendall(HELLO)
        posted.append(request) if request else None

    with listening(serve) as port:
        http = session(f"//127.0.0.1:{port}")
        http.get("/")
        with pytest.raises(MeterError, match="cut the connection during POST"):
            http.request("POST", "/", body=b"x")
    assert len(posted) == 1


def test_half_an_answer_is_no_answer(session: Open) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[1, 2]"
    with listening(sends(half)) as port, pytest.raises(MeterError, match="cut the connection") as caught:
        session(f"//127.0.0.1:{port}").get("/")
    assert caught.value.kind == "meter-unreachable"


def test_a_chunked_answer_is_put_together(session: Open) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[1.1\r\n6\r\n0,2.5]\r\n0\r\n\r\n"
    with listening(sends(chunked)) as port:
        assert [float(one) for one in session(f"//127.0.0.1:{port}").get("/").json()] == [1.1, 2.5]


def test_an_endless_answer_is_cut_off(session: Open) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    with (
        listening(sends(head + b" " * (MAX_BODY + 70_000))) as port,
        pytest.raises(MeterError, match="more than 4 MiB") as caught,
    ):
        session(f"//127.0.0.1:{port}").get("/")
    assert caught.value.kind == "meter-protocol"


def test_an_answer_that_dribbles_does_not_hold_the_meter_up(session: Open) -> None:
    with listening(dribbles) as port, pytest.raises(MeterError, match="dribbles"):
        session(f"//127.0.0.1:{port}?timeout=0.1").get("/")


def test_a_server_that_never_answers_is_given_up(session: Open) -> None:
    def silent(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.recv(65536)  # returns when the client gives up

    with listening(silent) as port, pytest.raises(MeterError, match=r"within 0\.1 s") as caught:
        session(f"//127.0.0.1:{port}?timeout=0.1").get("/")
    assert caught.value.kind == "meter-unreachable"


@pytest.mark.parametrize("body", [b"<html>", b"[NaN]", b"[" * 100_000, b"\xff\xfe", b"9" * 5000])
def test_what_is_no_json_is_said_to_be_none(session: Open, body: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with listening(sends(answer)) as port, pytest.raises(MeterError, match="does not answer in JSON") as caught:
        session(f"//127.0.0.1:{port}").get("/").json()
    assert caught.value.kind == "meter-protocol"


def test_a_redirect_within_the_host_is_followed(session: Open) -> None:
    moved = b"HTTP/1.1 308 Moved\r\nLocation: /redfish/v1/\r\nContent-Length: 0\r\n\r\n"
    with listening(sends(moved, HELLO)) as port:
        answer = session(f"//127.0.0.1:{port}").get("/redfish/v1")
    assert answer.body == b"hello"
    assert answer.where.endswith("/redfish/v1/")


@pytest.mark.parametrize("target", ["http://10.9.8.7/x", "https://127.0.0.1/", "//evil.example/x", "http://[bad/"])
def test_a_redirect_to_another_server_is_refused(session: Open, target: str) -> None:
    moved = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
    with listening(sends(moved)) as port, pytest.raises(MeterError, match="redirects to") as caught:
        session(f"//127.0.0.1:{port}").get("/", {"X-Auth-Token": "t"})
    assert caught.value.kind == "meter-protocol"


def test_a_circle_of_redirects_ends(session: Open) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    with listening(sends(*[moved] * 10)) as port, pytest.raises(MeterError, match="in a circle"):
        session(f"//127.0.0.1:{port}").get("/")


def test_proxies_in_the_environment_are_left_aside(
    session: Open, server: RedfishServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert session(f"//127.0.0.1:{server.port}?ca={server.ca}", "on").get("/redfish/v1/").status == 200


def test_a_self_signed_certificate_is_refused_and_its_fingerprint_can_be_pinned(
    session: Open, server: RedfishServer
) -> None:
    with pytest.raises(MeterError, match="fingerprint=SHA256") as caught:
        session(f"//127.0.0.1:{server.port}", "on").get("/redfish/v1/")
    assert caught.value.kind == "meter-auth"
    assert "self-signed certificate" in str(caught.value)
    assert server.fingerprint in str(caught.value)
    http = session(f"//127.0.0.1:{server.port}?fingerprint={server.fingerprint.upper()}", "on")
    assert http.get("/redfish/v1/").status == 200
    assert http.security() == f"TLSv1.3, certificate pinned by its SHA-256 fingerprint {server.fingerprint}"
    with pytest.raises(MeterError, match="another certificate") as caught:
        session(f"//127.0.0.1:{server.port}?fingerprint={'0' * 64}", "on").get("/redfish/v1/")
    assert caught.value.kind == "meter-auth"
    assert server.fingerprint in str(caught.value)
    assert server.requests == ["/redfish/v1/"]  # nothing was asked of a server that is not trusted


def test_the_authority_given_is_the_only_one_that_counts(session: Open, server: RedfishServer, tmp_path: Path) -> None:
    http = session(f"//127.0.0.1:{server.port}?ca={server.ca}", "on")
    assert http.get("/redfish/v1/").status == 200
    assert http.security() == f"TLSv1.3, certificate checked against {server.ca}"
    (tmp_path / "other").mkdir()
    with redfish_server(lambda t: 0.0, tmp_path / "other") as other:
        with pytest.raises(MeterError, match=r"does not stand before ca=.*other") as caught:
            session(f"//127.0.0.1:{server.port}?ca={other.ca}", "on").get("/redfish/v1/")
        assert caught.value.kind == "meter-auth"
        assert other.requests == []


def test_a_certificate_for_another_name_is_refused(session: Open, server: RedfishServer) -> None:
    with pytest.raises(MeterError, match="Hostname mismatch"):
        session(f"//localhost:{server.port}?ca={server.ca}", "on").get("/redfish/v1/")


def test_tls_towards_a_server_without_it_says_so(session: Open) -> None:
    with listening(sends(HELLO)) as port, pytest.raises(MeterError, match="does not speak TLS"):
        session(f"//127.0.0.1:{port}", "on").get("/")


def test_a_closed_port_and_an_unknown_host_say_what_to_check(session: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(MeterError, match="Check host and port") as caught:
        session(f"//127.0.0.1:{port}").get("/")
    assert caught.value.kind == "meter-unreachable"
    with pytest.raises(MeterError, match="no such host"):
        session("//no-such-host.invalid:1").get("/")


@pytest.mark.parametrize(
    ("text", "tls", "why"),
    [
        ("//h?ca=/no/such/file", "on", "PEM certificates"),
        ("//h?fingerprint=abc", "on", "64 hexadecimal"),
        ("//h?ca=x&tls=off", "on", "need tls=on"),
        (f"//h?ca=x&fingerprint={'a' * 64}", "on", "not both"),
        ("//h?tls=maybe", "on", "none of on, off"),
        ("//?tls=off", "on", "no host"),
        ("//h?timeout=0", "off", "timeout"),
    ],
)
def test_options_that_make_no_sense_are_refused(session: Open, text: str, tls: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        session(text, tls)


def test_a_login_that_cannot_be_sent_is_refused_without_being_shown(
    session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, secret in (("password", "top\rsecret"), ("token", "top\nsecret"), ("token", "topsécret")):
        monkeypatch.setenv("SECRET", secret)
        with pytest.raises(UsageError, match=f"the {name} holds characters") as caught:
            HttpSession(parse_address("redfish", f"//h?{name}_env=SECRET", 443, (f"{name}_env",)), "off")
        assert caught.value.kind == "meter-secret"
        assert "secret" not in str(caught.value)
    monkeypatch.setenv("SECRET", "geschützt, mit Leerzeichen")
    HttpSession(parse_address("redfish", "//h?user=a&password_env=SECRET", 443, ("user", "password_env")), "off")
    with pytest.raises(UsageError, match="user= holds characters"):
        HttpSession(parse_address("redfish", "//h?user=a%0d", 443, ("user",)), "off")


@pytest.mark.parametrize("text", ["Bearer topsecret\r", "Bearer tops\u00e9cret", "Bearer topsecret\r\nX: 1"])
def test_a_header_that_cannot_be_sent_is_refused_without_being_shown(session: Open, text: str) -> None:
    with listening(sends(HELLO)) as port:
        with pytest.raises(MeterError, match="as Authorization is not printable ASCII") as caught:
            session(f"//127.0.0.1:{port}").get("/", {"Authorization": text})
        assert caught.value.kind == "meter-secret"
        assert "tops" not in str(caught.value)


def test_what_the_library_says_of_a_request_is_not_shown(session: Open) -> None:
    with listening(sends(HELLO)) as port, pytest.raises(MeterError, match=r"InvalidURL$"):
        session(f"//127.0.0.1:{port}").get("/a b")
