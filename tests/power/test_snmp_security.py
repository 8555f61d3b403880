"""SNMPv3 against Debian's snmpd (Net-SNMP) and an agent on pysnmp, as the client is. Who may read, who is heard."""

from collections.abc import Iterator

import pytest

from tcabench.errors import MeterError
from tcabench.power.meter import ClockedMeter
from tcabench.power.meters import snmp_setup
from tcabench.power.meters.snmp import open_snmp
from tests.power.opened_snmp import opened, steady, values, values_again
from tests.power.servers.snmp_agent import AUTH_SECRET, PRIV_SECRET, USERS, Agent, snmp_agent
from tests.power.servers.snmpd import Snmpd, snmpd

TCA = "&user=tca&auth=sha256&auth_env=AUTH&priv=aes128&priv_env=PRIV"
SECURITY = {
    "&user=tca&auth=sha256&auth_env=AUTH&priv=aes128&priv_env=PRIV": "SNMPv3 authPriv SHA-256 AES-128",
    "&user=old&auth=sha1&auth_env=AUTH&priv=aes128&priv_env=PRIV": "SNMPv3 authPriv SHA-1 (outdated) AES-128",
    "&user=long&auth=sha512&auth_env=AUTH&priv=aes256&priv_env=PRIV": "SNMPv3 authPriv SHA-512 AES-256",
    "&user=stretched&auth=sha1&auth_env=AUTH&priv=aes256&priv_env=PRIV": "SNMPv3 authPriv SHA-1 (outdated) AES-256",
    "&user=stretchedc&auth=sha1&auth_env=AUTH&priv=aes256c&priv_env=PRIV":
        "SNMPv3 authPriv SHA-1 (outdated) AES-256 (key as in 3DES)",
}  # fmt: skip
ONLY_AGENT = {
    "&user=signed&auth=sha224&auth_env=AUTH":
        "SNMPv3 authNoPriv SHA-224: values are genuine, and readable on the network",
    "&user=open": "none: SNMPv3 noAuthNoPriv, anybody may have answered",
}  # fmt: skip
WRONG = {
    "&user=nobody&auth=sha256&auth_env=AUTH&priv=aes128&priv_env=PRIV": "it has no such user",
    "&user=tca&auth=sha256&auth_env=OTHER&priv=aes128&priv_env=PRIV": "the digest is wrong: the secret behind auth_env",
    "&user=tca&auth=sha1&auth_env=AUTH&priv=aes128&priv_env=PRIV": "the digest is wrong",
    "&user=tca&auth=sha256&auth_env=AUTH&priv=aes128&priv_env=OTHER": "the secret behind priv_env/priv_file, or priv=",
    "&user=tca&auth=sha256&auth_env=AUTH": "security level",
    "&user=tca": "security level",
}


@pytest.fixture(scope="module")
def peer() -> Iterator[Snmpd]:
    with snmpd(steady) as running:
        yield running


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    with snmp_agent(steady, users=tuple(USERS)) as running:
        yield running


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snmp_setup, "OPEN_S", 2.5)


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, secret in (("AUTH", AUTH_SECRET), ("PRIV", PRIV_SECRET), ("OTHER", "something else")):
        monkeypatch.setenv(name, secret)


def test_net_snmp_is_read_in_v2c(peer: Snmpd) -> None:
    with opened(peer.port) as meter:
        assert values(meter)["power"] == 412.3
        _, before_j = peer.load.now()
        assert values(meter)["energy"] >= before_j - 3600
        assert isinstance(meter, ClockedMeter)  # hrSystemDate of Net-SNMP has its zone
        assert meter.facts()["serial"]["value"] == "QFC7654321"


@pytest.mark.parametrize("options", SECURITY)
def test_net_snmp_is_read_in_v3(peer: Snmpd, options: str) -> None:
    with opened(peer.port, more=options) as meter:
        assert values(meter)["power"] == 412.3
        assert meter.facts()["security"]["value"] == SECURITY[options]


@pytest.mark.parametrize("options", {**SECURITY, **ONLY_AGENT})
def test_the_agent_of_the_tests_is_read_in_v3(agent: Agent, options: str) -> None:
    with opened(agent.port, more=options) as meter:
        assert values(meter)["power"] == 412.3
        assert meter.facts()["security"]["value"] == (SECURITY | ONLY_AGENT)[options]


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("options", WRONG)
def test_who_may_not_read_is_told_why(peer: Snmpd, agent: Agent, options: str) -> None:
    for port in (peer.port, agent.port):
        with pytest.raises(MeterError) as caught:
            open_snmp(f"//127.0.0.1:{port}?map=raritan-px{options}")
        assert caught.value.kind == "meter-auth"
        assert WRONG[options] in str(caught.value)
        for secret in (AUTH_SECRET, PRIV_SECRET, "something else"):
            assert secret not in str(caught.value)


def test_a_user_whose_name_is_too_long_for_snmp_is_said_so(peer: Snmpd) -> None:
    with pytest.raises(MeterError, match="cannot be asked: a user or context that SNMP has no room for"):
        open_snmp(f"//127.0.0.1:{peer.port}?map=raritan-px&user={'x' * 40}")


@pytest.mark.usefixtures("_impatient")
def test_a_context_that_the_device_does_not_have_is_among_what_is_told(peer: Snmpd) -> None:
    with pytest.raises(MeterError, match="or it has no such context="):
        open_snmp(f"//127.0.0.1:{peer.port}?map=raritan-px{TCA}&context=nowhere")


@pytest.mark.usefixtures("_impatient")
def test_a_community_that_is_not_let_in_is_silence(peer: Snmpd) -> None:
    with pytest.raises(MeterError, match="does not answer") as caught:
        open_snmp(f"//127.0.0.1:{peer.port}?map=raritan-px&community_env=OTHER")
    assert caught.value.kind == "meter-unreachable"


@pytest.mark.parametrize("options", ["", TCA])
def test_a_device_that_starts_again_in_mid_run_is_read_again(options: str) -> None:
    with snmpd(steady) as peer, opened(peer.port, more=options) as meter:
        assert values(meter)["power"] == 412.3
        peer.kill()
        with pytest.raises(MeterError, match="does not answer") as caught:
            meter.read()
        assert caught.value.kind == "meter-unreachable"
        peer.start()
        assert values_again(meter)["power"] == 412.3


@pytest.mark.parametrize("same_engine", [True, False])
def test_a_device_that_lost_its_memory_is_read_again(same_engine: bool) -> None:
    """Its engine counts fewer starts than before, so that its answers look old, or has another name."""
    with snmpd(steady) as peer:
        for _ in range(2):  # a few starts on its count
            peer.end()
            peer.start()
        with opened(peer.port, more=f"{TCA}&period=0.5") as meter:
            peer.end()
            peer.lose_memory(same_engine)
            peer.start()
            assert values_again(meter)["power"] == 412.3


@pytest.mark.parametrize("options", ["", TCA])
def test_a_device_that_hangs_is_an_error_until_it_goes_on(options: str) -> None:
    with snmpd(steady) as peer, opened(peer.port, more=f"{options}&period=0.2") as meter:
        peer.stop()
        with pytest.raises(MeterError, match="does not answer"):
            meter.read()
        peer.go_on()
        assert values_again(meter)["power"] == 412.3
