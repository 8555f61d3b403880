"""Text held back until it is certain: whole characters, and no piece of a stop string."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.text import TextStream, WholeText


def decode(tokens: Sequence[int]) -> str:
    """One token per byte."""
    return bytes(tokens).decode(errors="replace")


def run(data: bytes, stops: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    stream, shown = TextStream(decode, stops), []
    for byte in data:
        shown.append(stream.push(byte))
        if stream.stopped:
            return shown, True
    return [*shown, stream.flush()], stream.stopped


@given(st.text(max_size=40))
def test_no_half_characters_and_nothing_lost(text: str) -> None:
    shown, _ = run(text.encode())
    assert "".join(shown) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in shown)


@given(st.binary(max_size=40))
def test_bytes_that_are_no_text_come_out_as_the_decoder_writes_them(data: bytes) -> None:
    assert "".join(run(data)[0]) == decode(list(data))


@given(st.text("abc", max_size=40), st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4))
def test_text_ends_where_the_first_completed_stop_begins(text: str, stops: list[str]) -> None:
    shown, stopped = run(text.encode(), tuple(stops))
    met = next((n for n in range(len(text) + 1) if any(stop in text[:n] for stop in stops)), None)
    assert stopped == (met is not None)
    wanted = text if met is None else text[: min(at for stop in stops if (at := text[:met].find(stop)) >= 0)]
    assert "".join(shown) == wanted


@given(st.text("ab", max_size=30), st.text("ab", min_size=1, max_size=5))
def test_no_piece_of_a_stop_is_ever_shown(text: str, stop: str) -> None:
    """What has been shown at any moment is a beginning of the final answer."""
    shown, _ = run(text.encode(), (stop,))
    final = text.split(stop)[0]
    for n in range(len(shown)):
        assert final.startswith("".join(shown[:n]))


@pytest.mark.parametrize(
    ("data", "stops", "pieces"),
    [
        ("aéb", (), ["a", "", "é", "b", ""]),
        ("xEND", ("END",), ["x", "", "", ""]),
        ("xENx", ("END",), ["x", "", "", "ENx", ""]),
        ("xEN", ("END",), ["x", "", "", "EN"]),
        ("aEEND", ("END",), ["a", "", "E", "", ""]),
        ("né", ("é",), ["n", "", ""]),
    ],
)
def test_pieces(data: str, stops: tuple[str, ...], pieces: list[str]) -> None:
    assert run(data.encode(), stops)[0] == pieces


@given(st.binary(max_size=12), st.binary(max_size=40))
def test_whole_text_is_what_a_stream_shows_in_all(context: bytes, data: bytes) -> None:
    """Also after a prompt, whatever it ends in."""
    stream, whole = TextStream(decode, (), list(context)), WholeText(decode, list(context))
    shown = "".join([*(stream.push(byte) for byte in data), stream.flush()])
    assert [whole.push(byte) for byte in data] == [""] * len(data)
    assert whole.flush() == shown
