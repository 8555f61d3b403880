"""Real servers on loopback, asked by the load generator itself: each trick is found, and nothing in the honest one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcabench.clock import SystemClock
from tcabench.load import Endpoint, LoadPlan, drive, fold
from tcabench.quality import Finding, detect, recount
from tcabench.records import Arrivals, Message, Request, Status, WindowPlan
from tests.quality.made_up_answers import words
from tests.quality.sse_server import Answerer, Reply, serving

PROMPTS, PASSES, MAX_TOK = 12, 2, 24


def honest(prompt: str, before: int, max_tok: int) -> Reply:
    return Reply([f" {word}" for word in words(int(prompt), max_tok).split()])


def truncates(prompt: str, before: int, max_tok: int) -> Reply:
    return replace(honest(prompt, before, max_tok // 4), finish="stop")


def stores(prompt: str, before: int, max_tok: int) -> Reply:
    whole = honest(prompt, before, max_tok)
    return replace(whole, first_s=0.0, gap_s=0.0) if before else whole


def keeps_prompts(prompt: str, before: int, max_tok: int) -> Reply:
    return replace(honest(prompt, before, max_tok), first_s=0.0 if before else 0.5)


def loops(prompt: str, before: int, max_tok: int) -> Reply:
    return Reply([" the", " same", " again,"] * (max_tok // 3))


def refuses(prompt: str, before: int, max_tok: int) -> Reply:
    start = ["I'm", "sorry,", "but", "I", "can't", "help", "with", "that", "request.", ""]
    return Reply([*(f" {word}" for word in start[:-1]), *honest(prompt, before, max_tok - len(start) + 1).pieces])


def overcounts(prompt: str, before: int, max_tok: int) -> Reply:
    """Delivers three quarters and says that it was all."""
    return replace(honest(prompt, before, max_tok * 3 // 4), usage=max_tok)


def says_nothing(prompt: str, before: int, max_tok: int) -> Reply:
    return Reply([" "], finish="stop", usage=1)


def requests():  # type: ignore[no-untyped-def]
    for index in range(PROMPTS * PASSES):
        prompt = str(index % PROMPTS)
        yield Request(index, f"p{prompt}", (Message("user", prompt),), MAX_TOK, True, 0.0, 1, None)


def tokenizer(folder: Path) -> Path:
    """A tokenizer of which each word is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(folder / "tokenizer.json"))
    return folder


def asked(answerer: Answerer, folder: Path, pinned: bool = True) -> dict[str, Finding]:
    """What the detectors say of a server after every prompt was sent twice."""
    events: list[dict[str, Any]] = []
    with serving(answerer) as url:
        endpoint = Endpoint(url, "any", "chat", 20.0, sends_ignore_eos=pinned)
        plan = LoadPlan(Arrivals("closed", 6, None), WindowPlan(0, 0, 60, 20), PROMPTS * PASSES)
        drive(requests(), endpoint, plan, SystemClock(), events.append, lambda phase, t_ns: None)
    traces, _ = recount(fold(events, 0), tokenizer(folder))
    assert [t.status for t in traces] == [Status.OK] * PROMPTS * PASSES
    return {finding.name: finding for finding in detect(traces, pinned)}


def suspects(findings: dict[str, Finding]) -> list[str]:
    return [name for name, finding in findings.items() if finding.is_suspect]


@pytest.mark.parametrize("pinned", [True, False])
def test_nothing_is_held_against_the_honest_one(tmp_path: Path, pinned: bool) -> None:
    findings = asked(honest, tmp_path, pinned)
    assert suspects(findings) == []
    clean = ("shortened", "empty", "repeated", "cached", "refused", "inflated")
    assert {name: findings[name].count for name in clean} == dict.fromkeys(clean, 0)


@pytest.mark.parametrize(
    ("answerer", "pinned", "name", "count"),
    [
        (truncates, True, "shortened", 24),
        (loops, True, "repeated", 24),
        (refuses, True, "refused", 24),
        (overcounts, True, "inflated", 24),
        (says_nothing, False, "empty", 24),
    ],
)
def test_each_trick_is_found_and_no_other(
    answerer: Answerer, pinned: bool, name: str, count: int, tmp_path: Path
) -> None:
    findings = asked(answerer, tmp_path, pinned)
    assert suspects(findings) == [name]
    assert findings[name].count == count
    assert findings[name].examples == (0, 1, 2, 3, 4)


def test_answers_from_a_store_are_found_by_their_pace(tmp_path: Path) -> None:
    """Only the repeats, and both for being stored and for coming in a burst; how many depends on the machine's load."""
    findings = asked(stores, tmp_path)
    assert set(suspects(findings)) == {"cached", "burst"}
    for name in ("cached", "burst"):
        assert all(index >= PROMPTS for index in findings[name].examples)


def test_a_server_that_keeps_prompts_is_not_called_a_cheat(tmp_path: Path) -> None:
    findings = asked(keeps_prompts, tmp_path)
    assert suspects(findings) == []
    assert findings["prompt_kept"].count > 0
