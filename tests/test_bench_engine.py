"""The engine's benchmark: its servers, its reference and its sums, on a tiny model. Never how fast."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmarks.engine_client import Answer, Asked, Row, tree_cpu_s
from benchmarks.engine_reference import Known, Reference, identity, reference
from benchmarks.engine_roofline import Machine, Model, decoding, measured_machine
from benchmarks.engine_rounds import GOALS, PEERS, Bench, _numbered
from benchmarks.engine_servers import CHAT, Launch, Server, chat_body, started
from reference_engine.model.export import export
from tests.engine.conftest import make_checkpoint, make_tokenizer

ROOT = Path(__file__).resolve().parents[1]
OUTPUT_TOK = 24
MESSAGES = [[{"role": "user", "content": text}] for text in ("What is ice?", "Say hello.", "Count to ten.")]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(make_checkpoint(), make_tokenizer(), tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def asking(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    with reference(weights, tmp_path_factory.mktemp("log") / "reference.log") as found:
        yield found


@pytest.fixture(scope="module")
def server(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    command = [sys.executable, "-m", "reference_engine", "serve", "--model", str(weights), "--port", "{port}"]
    command += ["--served-name", "SmolLM2-135M-Instruct", "--threads", "1", "--without", "speculation"]
    launch = Launch(command, CHAT, chat_body(ignore_eos=True))
    with started("ours", launch, tmp_path_factory.mktemp("ours")) as running:
        yield running


@pytest.fixture(scope="module")
def prompts(asking: Reference) -> list[Asked]:
    return asking.render(7, [_numbered(7 + i, one) for i, one in enumerate(MESSAGES)])


def test_a_prompt_begins_with_its_number(prompts: list[Asked]) -> None:
    assert [prompt.serial for prompt in prompts] == [7, 8, 9]
    assert "[8] Say hello." in prompts[1].text
    assert len(prompts[1].ids) == len(prompts[1].text.replace("<|end|>", "#"))


def test_a_server_sleeps_but_for_its_rows(server: Server, prompts: list[Asked]) -> None:
    def state() -> str:
        return psutil.Process(server.process.pid).status()

    deadline = time.monotonic() + 5
    while state() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert state() == psutil.STATUS_STOPPED
    before_s = tree_cpu_s(server.process.pid)
    time.sleep(0.3)
    assert tree_cpu_s(server.process.pid) == before_s
    row = server.row(prompts, 2, OUTPUT_TOK)
    assert row.tokens == len(prompts) * OUTPUT_TOK
    assert 0 < row.cpu_s <= row.wall_s * (psutil.cpu_count() or 1) + 0.1


def test_our_answers_are_the_references(server: Server, asking: Reference, prompts: list[Asked]) -> None:
    alone, ids = asking.row(prompts, 1, OUTPUT_TOK)
    batched, of_batch = asking.row(prompts, 3, OUTPUT_TOK)
    assert alone.tokens == batched.tokens == len(prompts) * OUTPUT_TOK
    assert of_batch.keys() == ids.keys() == {7, 8, 9}
    answers = server.row(prompts, 3, OUTPUT_TOK).answers
    found = identity(asking, Known(ids), prompts, answers, 1e-4)
    assert (found.compared, found.same, found.ties, found.faults) == (3, 3, 0, 0)


def test_another_answer_is_a_fault_unless_the_reference_was_not_sure(asking: Reference, prompts: list[Asked]) -> None:
    row, ids = asking.row(prompts, 1, OUTPUT_TOK)
    other = [row.answers[0]._replace(text=row.answers[0].text[:5] + "another thing"), *row.answers[1:]]
    known = Known({}, {serial: ids[serial] for serial in (7, 8)})
    assert identity(asking, known, prompts, other, 1e-9).faults == 1
    as_tie = identity(asking, known, prompts, other, 1e9)
    assert (as_tie.compared, as_tie.same, as_tie.ties, as_tie.faults) == (2, 1, 1, 0)


def test_the_reference_knows_its_own_error(asking: Reference, prompts: list[Asked]) -> None:
    error = asking.ask({"self_error": [prompts[0].ids]})["self_error"]
    assert 0 < error < 1e-3


def test_decoding_is_told_from_prefill(server: Server, prompts: list[Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.engine_roofline.POLL_S", 0.02)
    found = decoding(server, prompts, 3, 256)
    assert found.tokens_per_s > 0
    assert found.context_tok == pytest.approx(sum(len(p.ids) for p in prompts) / 3 + 128)


def test_the_machine_is_measured(tmp_path: Path) -> None:
    machine = measured_machine(tmp_path, Model(10_000_000, 1, 1, 1), 0.05)
    assert 1e8 < machine.read_b_s < 1e13
    assert 1e8 < machine.fp32_mac_s < machine.int8_mac_s * 10 < 1e16


def test_the_limit_is_the_smaller_of_reading_and_computing() -> None:
    model = Model(packed_bytes=100, weights=50, kv_bytes=2, attention=3)
    slow_reading = Machine(read_b_s=1000, int8_mac_s=1e9, fp32_mac_s=1e9)
    assert slow_reading.tokens_per_s(model, 1, 10) == pytest.approx(1000 / (100 + 20))
    assert slow_reading.tokens_per_s(model, 10, 10) == pytest.approx(1000 / (10 + 20))
    slow_computing = replace(slow_reading, read_b_s=1e9, int8_mac_s=1000, fp32_mac_s=300)
    assert slow_computing.tokens_per_s(model, 1, 10) == pytest.approx(1 / (0.1 + 0.1))


def test_a_row_is_what_it_cost() -> None:
    row = Row([Answer("", 5, 20), Answer("", 5, 30)], wall_s=2.0, cpu_s=3.5, client_cpu_s=0.3)
    assert (row.tokens, row.tokens_per_s, row.cpu_s_per_token, row.cores) == (50, 25, 0.07, 1.9)


def test_each_goal_stands_at_a_concurrency_that_is_measured() -> None:
    assert {c for goals in GOALS.values() for c in goals} == {1, 16, 64}
    bench = Bench.__new__(Bench)
    bench.peers = PEERS
    assert bench.concurrencies() == [1, 16, 64]


def test_an_unknown_peer_is_refused() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "engine.py"), "--only", "vlm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no peer vlm" in done.stderr


def test_the_llama_server_is_changed_in_one_name_only() -> None:
    """The peer's own code looks the function up by this name; a new version that renames it must not go unseen."""
    text = (ROOT / "benchmarks" / "engine_llama.py").read_text()
    assert text.count("llama_cpp.llama_vocab_is_eog = ") == 1
    pins = (ROOT / "benchmarks" / "llama_cpp_peer.txt").read_text()
    assert 'llama_cpp_python==0.3.36 --config-settings="cmake.args=-DGGML_NATIVE=ON"' in pins
