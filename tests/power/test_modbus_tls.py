"""Modbus/TLS against a real server: both sides show a certificate, and each wrong one is told apart."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tcabench.errors import MeterError, UsageError
from tcabench.power.meters.modbus import open_modbus
from tcabench.records import Kind
from tests.power.opened_modbus import opened, steady, value
from tests.power.servers.modbus_server import modbus_server

PASSPHRASE = "correct horse"
Signer = tuple[x509.Name, ec.EllipticCurvePrivateKey]


def certificate(folder: Path, name: str, signer: Signer | None = None, host: str = "127.0.0.1") -> Signer:
    """NAME.pem and NAME.key, the key also with a passphrase as NAME.locked; signed by `signer`, or a CA without."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, issuer_key = signer or (subject, key)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(names, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    for suffix, lock in (("key", serialization.NoEncryption()), ("locked", _lock())):
        form = serialization.PrivateFormat.PKCS8
        (folder / f"{name}.{suffix}").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, lock))
    return subject, key


def _lock() -> serialization.BestAvailableEncryption:
    return serialization.BestAvailableEncryption(PASSPHRASE.encode())


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, a server and a client of it; a stranger; and a server for another address."""
    folder = tmp_path_factory.mktemp("papers")
    ca = certificate(folder, "ca")
    certificate(folder, "server", ca)
    certificate(folder, "client", ca)
    certificate(folder, "elsewhere", ca, host="192.0.2.1")
    certificate(folder, "stranger")
    return folder


def server_side(papers: Path, name: str = "server") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(papers / f"{name}.pem", papers / f"{name}.key")
    context.load_verify_locations(papers / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def shown(papers: Path, ca: str = "ca", client: str = "client", key: str = "key") -> str:
    return f"&tls=on&ca={papers}/{ca}.pem&cert={papers}/{client}.pem&key={papers}/{client}.{key}"


def test_a_meter_is_read_over_tls_with_both_certificates_checked(papers: Path) -> None:
    tls, more = server_side(papers), shown(papers)
    with modbus_server("janitza-umg96", steady, tls=tls) as server, opened(server, more=more) as meter:
        assert value(meter, Kind.POWER) == 3000
        security = meter.facts()["security"]["value"]
        assert security == "TLSv1.3, the device's certificate checked, with a client certificate"
        server.hang_up()
        assert value(meter, Kind.POWER) == 3000
        server.stop()
        with pytest.raises(MeterError) as caught:
            meter.read()
        assert caught.value.kind == "meter-unreachable"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("&tls=on&ca={0}/ca.pem", r"client certificate"),
        ("&tls=on&ca={0}/stranger.pem&cert={0}/client.pem&key={0}/client.key", r"is not accepted: .*ca=FILE"),
        ("&tls=on&ca={0}/ca.pem&cert={0}/stranger.pem&key={0}/stranger.key", r"client certificate"),
    ],
)  # fmt: skip
def test_a_certificate_that_is_missing_or_not_accepted_is_told(papers: Path, more: str, told: str) -> None:
    with modbus_server("janitza-umg96", steady, tls=server_side(papers)) as server:
        with pytest.raises(MeterError, match=told) as caught, opened(server, more=more.format(papers)):
            pass
        assert caught.value.kind == "meter-auth"


def test_a_device_that_is_made_out_to_another_name_needs_that_name(papers: Path) -> None:
    with modbus_server("janitza-umg96", steady, tls=server_side(papers, "elsewhere")) as server:
        with pytest.raises(MeterError, match="tls_name=NAME") as caught, opened(server, more=shown(papers)):
            pass
        assert caught.value.kind == "meter-auth"
        with opened(server, more=shown(papers) + "&tls_name=192.0.2.1") as meter:
            assert value(meter, Kind.POWER) == 3000


def test_tls_towards_a_device_that_speaks_none_is_refused(papers: Path) -> None:
    with modbus_server("janitza-umg96", steady) as server, pytest.raises(MeterError, match="speak no TLS") as caught:
        open_modbus(f"//127.0.0.1:{server.port}/1?map=janitza-umg96{shown(papers)}")
    assert caught.value.kind in ("meter-auth", "meter-unreachable")


def test_a_locked_key_takes_its_passphrase_from_a_file_and_never_asks(
    papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "phrase").write_text(PASSPHRASE + "\n")
    monkeypatch.setenv("PHRASE", "wrong")
    locked = shown(papers, key="locked")
    with modbus_server("janitza-umg96", steady, tls=server_side(papers)) as server:
        with opened(server, more=f"{locked}&passphrase_file={tmp_path}/phrase") as meter:
            assert value(meter, Kind.POWER) == 3000
            assert PASSPHRASE not in str(meter.facts())
        for more in ("", "&passphrase_env=PHRASE"):
            with pytest.raises(UsageError, match="needs passphrase_env= or passphrase_file="):
                open_modbus(f"//127.0.0.1:{server.port}/1?map=janitza-umg96{locked}{more}")
