"""The law of the product: change any byte of page, bundle or signatures, and it is VALID no more."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcabench.evidence.slot import CLOSE, EVIDENCE_OPEN, SLOT_OPEN
from tcabench.verify import Standing, verify
from tests.evidence.sample_run import sealed_in

WIDE = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLACES = st.integers(min_value=0, max_value=10**9)
FLIPS = st.integers(min_value=1, max_value=255)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    return sealed_in(tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def whole(sealed):
    """Each file's content as sealed; the files themselves are put back after each change."""
    files = {"page": sealed.run.report, "bundle": sealed.run.tcab, "signatures": sealed.run.attestation}
    return {name: (path, path.read_bytes()) for name, path in files.items()}


def standing_of(sealed, whole, name, content):
    """What a verifier says once `content` stands in the place of that file."""
    path, original = whole[name]
    path.write_bytes(content)
    try:
        return verify(sealed.run.report if name == "page" else sealed.run.tcab, sealed.trust).verdict
    finally:
        path.write_bytes(original)


def flipped(data, at, by=1):
    return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


@pytest.mark.parametrize("name", ["page", "bundle", "signatures"])
def test_unchanged_it_is_valid(sealed, whole, name):
    assert standing_of(sealed, whole, name, whole[name][1]) is Standing.VALID


@pytest.mark.parametrize("name", ["page", "bundle", "signatures"])
@WIDE
@given(place=PLACES, by=FLIPS)
def test_a_flipped_byte(sealed, whole, name, place, by):
    original = whole[name][1]
    changed = flipped(original, place % len(original), by)
    assert standing_of(sealed, whole, name, changed) is not Standing.VALID


@pytest.mark.parametrize("name", ["page", "bundle", "signatures"])
@WIDE
@given(place=PLACES, length=st.integers(0, 40), inserted=st.binary(max_size=8))
def test_bytes_cut_out_and_put_in(sealed, whole, name, place, length, inserted):
    original = whole[name][1]
    at = place % (len(original) + 1)
    changed = original[:at] + inserted + original[at + length :]
    if changed != original:
        assert standing_of(sealed, whole, name, changed) is not Standing.VALID


@pytest.mark.parametrize("name", ["page", "bundle", "signatures"])
@WIDE
@given(one=PLACES, other=PLACES)
def test_two_bytes_exchanged(sealed, whole, name, one, other):
    data = bytearray(whole[name][1])
    a, b = one % len(data), other % len(data)
    data[a], data[b] = data[b], data[a]
    if bytes(data) != whole[name][1]:
        assert standing_of(sealed, whole, name, bytes(data)) is not Standing.VALID


def test_every_byte_of_the_signatures(sealed, whole):
    original = whole["signatures"][1]
    for at in range(len(original)):
        assert standing_of(sealed, whole, "signatures", flipped(original, at)) is not Standing.VALID, at


def test_bytes_in_the_slot_and_every_byte_around_it(sealed, whole):
    page = whole["page"][1]
    start = page.index(SLOT_OPEN)
    inside, end = start + len(SLOT_OPEN), page.index(CLOSE, start)
    tags = [*range(start, inside), *range(end, end + len(CLOSE))]
    for at in [*tags, *range(inside, end, 5)]:  # the same bytes stand in the file of signatures, where each is flipped
        assert standing_of(sealed, whole, "page", flipped(page, at)) is not Standing.VALID, at


def regions_of_the_page(page):
    """The places a forger would try, by name: (first byte, last byte)."""
    number = re.search(rb">(768000)<", page)
    value = re.search(rb'value="(768000)"', page)
    style = re.search(rb"<style>(.*?)</style>", page)
    assert number
    assert value
    assert style
    block = page.index(EVIDENCE_OPEN)
    end = page.index(CLOSE, block)
    return {
        "doctype": (0, 15),
        "style": style.span(1),
        "visible number": number.span(1),
        "value of the number": value.span(1),
        "opening of the evidence": (block, block + len(EVIDENCE_OPEN) + 8),
        "end of the evidence": (end - 8, end + len(CLOSE)),
        "end of the page": (len(page) - 16, len(page)),
    }


def test_every_byte_where_a_page_would_be_forged(sealed, whole):
    page = whole["page"][1]
    for name, (start, end) in regions_of_the_page(page).items():
        for at in range(start, end):
            assert standing_of(sealed, whole, "page", flipped(page, at)) is not Standing.VALID, (name, at)


def test_every_byte_of_the_bundle_that_is_no_content(sealed, whole):
    """Local headers, central directory and end record: what zip tools forgive, this does not."""
    data = whole["bundle"][1]
    directory = data.index(b"PK\x01\x02")
    headers = [at for match in re.finditer(rb"PK\x03\x04", data) for at in range(match.start(), match.start() + 30)]
    for at in [*headers, *range(directory, len(data))]:
        assert standing_of(sealed, whole, "bundle", flipped(data, at)) is not Standing.VALID, at


def test_bytes_all_over_the_tables(sealed, whole):
    data = whole["bundle"][1]
    for table in (b"requests.parquet", b"power.parquet"):
        start = data.index(table + b"PAR1") + len(table)
        end = data.index(b"PAR1", start + 4) + 4
        for at in [*range(start, start + 64), *range(start, end, 97), *range(end - 64, end)]:
            assert standing_of(sealed, whole, "bundle", flipped(data, at)) is not Standing.VALID, at


@pytest.mark.parametrize("name", ["page", "bundle", "signatures"])
def test_every_kind_of_cut(sealed, whole, name):
    data = whole[name][1]
    for length in (0, 1, 21, 22, len(data) // 3, len(data) // 2, len(data) - 22, len(data) - 1):
        assert standing_of(sealed, whole, name, data[:length]) is not Standing.VALID, length
        assert standing_of(sealed, whole, name, data + data[:length] + b"\n") is not Standing.VALID, length
