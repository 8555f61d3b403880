"""The bundle: one spelling, readable by any zip tool, and nothing else accepted."""

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcabench.errors import NotVerified
from tcabench.evidence.canonical import canonical
from tcabench.evidence.pack import (
    LOCAL,
    MANIFEST,
    build_pack,
    check_manifest,
    manifest_of,
    open_pack,
    unpack,
    zip_bytes,
)

NAMES = st.sampled_from(["plan.json", "power.parquet", "events.jsonl", "policy.yaml", "calibration/meter-1.pdf"])
FILES = st.dictionaries(NAMES, st.binary(max_size=200))
SOME = {"plan.json": b"{}", "power.parquet": b"PAR1\x00\xff", "calibration/meter.pdf": b"%PDF"}


@settings(deadline=None, max_examples=50)
@given(FILES)
def test_members_come_back_and_the_bytes_depend_on_nothing_else(members):
    data, root = build_pack("run-1", members)
    again, _ = build_pack("run-1", dict(reversed(members.items())))
    pack = open_pack(data)
    assert (pack.members, pack.run_id, pack.merkle_root) == (members, "run-1", root)
    assert again == data


@settings(deadline=None, max_examples=50)
@given(FILES)
def test_the_standard_library_reads_it_the_same(members):
    data, _ = build_pack("run-1", members)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert file.testzip() is None
        assert file.namelist()[0] == MANIFEST
        assert {name: file.read(name) for name in file.namelist()[1:]} == members


def _written(entries, compression=zipfile.ZIP_STORED, comment=b""):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", compression) as file:
        for name, content in entries:
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, compression)
        file.comment = comment
    return sink.getvalue()


def _overlapping():
    """Two directory entries for one stored member: the shape of the densest zip bombs."""
    data = zip_bytes({"plan.json": b"x" * 100})
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    return data[:end] + data[start:end] + data[end:]


GOOD = build_pack("run-1", SOME)[0]
HOSTILE = {
    "empty": b"",
    "not a zip": b"hello",
    "bytes before": b"x" + GOOD,
    "bytes after": GOOD + b"x",
    "bytes between": GOOD.replace(b"PK\x01\x02", b"xPK\x01\x02", 1),
    "comment": _written([("plan.json", b"{}")], comment=b"hi"),
    "compressed bomb": _written([("plan.json", b"0" * 50_000_000)], zipfile.ZIP_DEFLATED),
    "overlapping": _overlapping(),
    "twice": zip_bytes({"plan.json": b"a"})[:-22] + zip_bytes({"plan.json": b"b"}),
    "too many": zip_bytes({f"m{n}.json": b"" for n in range(200)}),
    "upwards": zip_bytes({"../plan.json": b""}),
    "absolute": zip_bytes({"/etc/plan.json": b""}),
    "windows": zip_bytes({"..\\plan.json": b""}),
    "folder": zip_bytes({"plan/": b""}),
    "script": zip_bytes({"plan.sh": b""}),
    "newline": zip_bytes({"plan.json\n": b""}),
    "cut": GOOD[:-1],
    "cut header": GOOD[:20],
    "huge size": GOOD[:18] + b"\xff\xff\xff\xff" * 2 + GOOD[26:],
    "only an end": zip_bytes({}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused(name):
    with pytest.raises(NotVerified):
        unpack(HOSTILE[name])


def test_entries_of_one_name_are_refused():
    content = b"{}"
    one = zip_bytes({"plan.json": content})
    local = one[: LOCAL.size + len("plan.json") + len(content)]
    with pytest.raises(NotVerified, match="twice"):
        unpack(local + one)


def _with_manifest(members, **news):
    return {MANIFEST: canonical({**manifest_of("run-1", members), **news}), **members}


def test_a_manifest_lists_exactly_the_members():
    whole = _with_manifest(SOME)
    check_manifest(whole)
    wrong = [
        SOME,
        {**whole, "plan.json": b"{ }"},
        {**whole, "sut.json": b"{}"},
        {name: content for name, content in whole.items() if name != "plan.json"},
        _with_manifest(SOME, merkle_root="0" * 64),
        _with_manifest(SOME, schema="other"),
        _with_manifest(SOME, extra=1),
        _with_manifest(SOME, files=[]),
        {**SOME, MANIFEST: b"[]"},
        {**SOME, MANIFEST: whole[MANIFEST] + b"\n"},
    ]
    for members in wrong:
        with pytest.raises(NotVerified):
            check_manifest(members)


@pytest.mark.parametrize("name", ["../x.json", MANIFEST, "a.exe", "A.json", ""])
def test_what_the_reader_would_refuse_is_not_written(name):
    with pytest.raises(ValueError, match="member"):
        build_pack("run-1", {name: b""})
