"""JSON: one spelling out, one meaning in."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcabench.errors import NotVerified
from tcabench.evidence.canonical import canonical, plain, read_canonical, read_json, read_lines

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LEAF = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT
VALUES = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


@settings(deadline=None, max_examples=50)
@given(VALUES)
def test_canonical_and_plain_say_what_they_were_given(value):
    assert read_canonical(canonical(value), "x") == value
    assert read_json(plain(value), "x") == value


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(TEXT, st.integers(0, 9), min_size=2))
def test_another_spelling_of_the_same_value_is_refused(value):
    other = json.dumps(value, indent=1).encode()
    with pytest.raises(NotVerified, match="canonical"):
        read_canonical(other, "x")


def test_integers_beyond_2_53_have_no_canonical_form():
    with pytest.raises(ValueError, match="exceeds"):
        canonical({"t": 2**53})
    assert read_json(plain({"t": 2**60}), "x") == {"t": 2**60}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":2}', "twice"),
        (b'{"a":{"b":1,"b":1}}', "twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "out of range"),
        (b'["\xff"]', "utf-8"),
        (b"\xef\xbb\xbf[]", "BOM"),
        (b"[] []", "Extra data"),
        (b"", "Expecting value"),
        (b"[" * 40 + b"]" * 40, "deeper"),
        (b"[" * 200_000 + b"]" * 200_000, "deeper"),
        (b"[" + b"9" * 5000 + b"]", "digits"),
    ],
)
def test_what_has_no_single_meaning_is_refused(data, why):
    with pytest.raises(NotVerified, match=why):
        read_json(data, "x")


def test_a_document_beyond_its_limit_is_not_parsed():
    with pytest.raises(NotVerified, match="at most 3"):
        read_json(b"[1,2]", "x", limit_bytes=3)


@pytest.mark.parametrize("data", [b'{"a":1}\n{"b"', b'{"a":1}', b"[]\n", b'{"a":1}\n\n'])
def test_lines_are_whole_objects(data):
    with pytest.raises(NotVerified):
        read_lines(data, "x")


def test_lines_of_an_empty_file():
    assert read_lines(b"", "x") == ()
