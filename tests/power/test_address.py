"""Addresses of meters: what is refused, and that no secret comes back in an error or a name."""

import pytest

from tcabench.errors import UsageError
from tcabench.power.address import Address, Point, parse_address, place, refuse_twins
from tcabench.records import Kind

OWN = ("user", "token_env", "token_file", "password_env")


def refused(text: str, scheme: str = "redfish") -> str:
    with pytest.raises(UsageError) as caught:
        parse_address(scheme, text, 443, OWN)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "//bench:s3cret@127.0.0.1:80x/redfish/v1",
        "//bench:s3cret@127.0.0.1/redfish/v1",
        "//s3cret@127.0.0.1",
        "//127.0.0.1:80x/?password=s3cret",
        "//127.0.0.1/?password=s3cret&oops",
        "//[::1/s3cret",
    ],
)
def test_what_is_refused_is_not_echoed(text: str) -> None:
    assert "s3cret" not in refused(text)


def test_a_variable_that_may_be_the_secret_itself_is_not_echoed() -> None:
    address = parse_address("redfish", "//pdu?token_env=hunter2", 443, OWN)
    with pytest.raises(UsageError, match="that variable is not set") as caught:
        address.secret("token")
    assert "hunter2" not in str(caught.value)


def test_a_secret_ends_where_its_text_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "topsecret\r\n")
    assert parse_address("redfish", "//pdu?token_env=TOKEN", 443, OWN).secret("token") == "topsecret"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("//pdu/1?name=pump#2&role=cooling", "%23"),
        ("//pdu?nmae=x", "Did you mean 'name'"),
        ("//pdu?period=1&period=2", "given twice"),
        ("//pdu?name=a%1bb", "cannot be printed"),
    ],
)
def test_what_cannot_be_meant_is_told(text: str, told: str) -> None:
    assert told in refused(text)


@pytest.mark.parametrize("text", ["inf", "nan", "1e999", "-1", "x"])
def test_a_number_is_a_finite_one(text: str) -> None:
    with pytest.raises(UsageError, match="is not a number"):
        Address("modbus", "pdu", 502, "", {"resolution": text}).number("resolution", 0.0)


def test_two_meters_of_one_host_have_two_names() -> None:
    names = {parse_address("redfish", text, 443, OWN).meter for text in ("//pdu", "//pdu:8443", "//pdu/1", "//pdu:443")}
    assert names == {"redfish.pdu", "redfish.pdu-8443", "redfish.pdu-1"}


def test_a_place_without_a_plain_letter_still_has_a_name() -> None:
    one, other = (parse_address("csv", text, 0, OWN).label for text in ("数据/电", "数据/水"))
    assert one
    assert one != other


def test_a_certificate_is_due_after_it_was_made() -> None:
    point = Point("power", Kind.POWER, "W", 1.0, "a data sheet")
    with pytest.raises(UsageError, match="before calibrated"):
        place(parse_address("redfish", "//pdu?calibrated=2027-01-01&due=2026-01-01", 443, OWN), point)


def test_one_device_under_two_names_is_refused() -> None:
    """It would count twice."""
    one = "modbus://localhost:1502/1?map=janitza-umg96&name=a"
    for other in ("modbus://127.0.0.1:1502/1?map=janitza-umg96&name=b", "modbus://localhost:1502/1/?map=janitza-umg96"):
        with pytest.raises(UsageError, match="are one device") as caught:
            refuse_twins(["nvml", one, other])
        assert caught.value.kind == "meter-twice"
    with pytest.raises(UsageError, match="are one device") as caught:
        refuse_twins(["redfish://u:secret@pdu.example/a", "redfish://u:secret@PDU.example/a?name=b"])
    assert "secret" not in str(caught.value)


def test_services_behind_one_address_are_told_apart_by_their_names() -> None:
    refuse_twins(["prometheus://localhost/?query=p", "prometheus://127.0.0.1/?query=p"])


@pytest.mark.parametrize(
    "name", ["snmp://[::1?map=x", "snmp://u:topsecret@ho\u2100st", "snmp://a..b?map=x", "modbus://" + 64 * "a"]
)
def test_what_is_no_address_is_left_to_its_meter(name: str) -> None:
    refuse_twins([name, "snmp://localhost?map=x", "modbus://localhost"])


@pytest.mark.parametrize(
    "other",
    [
        "modbus://localhost:1502/2?map=janitza-umg96", "modbus://localhost:1503/1?map=janitza-umg96",
        "modbus://localhost:1502/1?map=janitza-umg96&role=site", "modbus://no-such-host.invalid:1502/1?map=janitza-umg96",
        "snmp://localhost:1502/1?map=janitza-umg96", "modbus://localhost:99999999/1?map=janitza-umg96",
    ],
)  # fmt: skip
def test_what_differs_in_what_is_read_is_no_twin(other: str) -> None:
    refuse_twins(["modbus://localhost:1502/1?map=janitza-umg96", other])
