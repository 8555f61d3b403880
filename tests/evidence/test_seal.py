"""Sealing: three files that belong together, or the loose evidence as it was."""

import json
import os
import subprocess
import sys
from hashlib import sha256

import pytest

from tcabench.errors import EvidenceError
from tcabench.evidence import slot
from tcabench.evidence.dsse import holds, read_bundle
from tcabench.evidence.pack import open_pack
from tcabench.evidence.slot import EVIDENCE_OPEN, SLOT_OPEN, split_page
from tcabench.evidence.statement import PREDICATE_TYPE, read_statement, subjects
from tests.evidence import sample_run
from tests.evidence.sample_run import page_of, record, result_of, sealed_in


@pytest.fixture
def sealed(tmp_path):
    return sealed_in(tmp_path)


def test_the_statement_is_about_every_file(sealed):
    envelope = read_bundle(sealed.run.attestation.read_bytes())[0]
    assert holds(envelope, sealed.key.public_key)
    statement = read_statement(envelope.payload)
    page, tcab = sealed.run.report.read_bytes(), sealed.run.tcab.read_bytes()
    plan = sealed.record.plan
    assert subjects(statement) == {
        "evidence": open_pack(tcab).merkle_root,
        "evidence.tcab": sha256(tcab).hexdigest(),
        "page": split_page(page).sha256(),
        "policy": plan["policy"]["digest"],
        "workload": plan["workload"]["digest"],
        "model": plan["model_sha256"],
    }
    assert statement["predicateType"] == PREDICATE_TYPE
    predicate = statement["predicate"]
    assert (predicate["complete"], predicate["grade"], predicate["overall"]) == (True, "E2", "PASS")
    assert predicate["values"]["j_per_output_token"]["value"] == "4.6875"
    assert predicate["challenge"] is None


def test_a_bound_that_bounds_nothing_is_marked():
    values = result_of(record())["values"]
    assert values["ttft.p99"]["open_above"] is True  # 36 answers do not bound that quantile
    assert "open_above" not in values["ttft.p50"]


def test_page_and_attestation_carry_the_same_signatures(sealed):
    page = split_page(sealed.run.report.read_bytes())
    assert page.slot == sealed.run.attestation.read_bytes()
    assert page.evidence == sealed.run.tcab.read_bytes()
    assert sealed.run.is_embedded


def test_a_model_without_a_digest_is_no_subject(tmp_path):
    run = record()
    run.plan["model_sha256"] = None
    sealed = sealed_in(tmp_path, run)
    statement = read_statement(read_bundle(sealed.run.attestation.read_bytes())[0].payload)
    assert "model" not in subjects(statement)


def test_every_number_in_the_result_is_a_decimal_string():
    def numbers(value):
        if isinstance(value, dict | list):
            for child in value.values() if isinstance(value, dict) else value:
                yield from numbers(child)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield value

    assert list(numbers(result_of(record()))) == []


def test_the_loose_evidence_goes_only_when_everything_was_read_back(tmp_path):
    run = record()
    loose = tmp_path / run.run_id / "evidence"
    loose.mkdir(parents=True)
    (loose / "events.jsonl").write_text("x")
    (tmp_path / run.run_id / f"{run.run_id}.tcab").mkdir()  # where the bundle cannot be written
    with pytest.raises(EvidenceError):
        _seal_again(tmp_path, run)
    assert (loose / "events.jsonl").read_text() == "x"
    (tmp_path / run.run_id / f"{run.run_id}.tcab").rmdir()
    _seal_again(tmp_path, run)
    assert sorted(p.name for p in loose.parent.iterdir()) == [
        "20261123T120000Z-abc123.tcab",
        "attestation.jsonl",
        "report.html",
    ]


def _seal_again(folder, run):
    place = folder / run.run_id
    key = sample_run.open_file_key(folder / "key.pem")
    return sample_run.seal(
        place, run, policy_yaml=b"id: x\n", ledger=b"", render=lambda e: page_of(result_of(run), e), signer=key,
        signed_at_ns=1,
    )  # fmt: skip


LIMITED = """
import json, resource, sys
from pathlib import Path
from tcabench.errors import EvidenceError
from tests.evidence.test_seal import _seal_again, record
folder = Path(sys.argv[1])
run = record()
(folder / run.run_id / "evidence").mkdir(parents=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
try:
    _seal_again(folder, run)
except EvidenceError as err:
    print(json.dumps([err.kind, sorted(p.name for p in (folder / run.run_id).iterdir())]))
"""


def test_a_full_disk_while_sealing_leaves_the_loose_evidence_and_no_half_file(tmp_path):
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert json.loads(done.stdout) == ["disk-full", ["evidence"]]


def test_a_bundle_too_large_for_the_page_stays_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(slot, "MOST_EMBEDDED_CHARS", 1_000)
    sealed = sealed_in(tmp_path)
    assert not sealed.run.is_embedded
    assert split_page(sealed.run.report.read_bytes()).evidence is None


@pytest.mark.parametrize(
    "page",
    [
        lambda result, evidence: page_of(result, b"another"),
        lambda result, evidence: page_of(result, evidence).replace(SLOT_OPEN, SLOT_OPEN + b"x"),
        lambda result, evidence: page_of(result, evidence).replace(SLOT_OPEN, SLOT_OPEN + b"</script>" + SLOT_OPEN),
        lambda result, evidence: page_of(result, evidence).replace(SLOT_OPEN, b"<script>"),
        lambda result, evidence: page_of(result, evidence).replace(EVIDENCE_OPEN, EVIDENCE_OPEN + b" "),
    ],
)
def test_a_page_that_breaks_the_contract_is_not_sealed(tmp_path, page):
    with pytest.raises(ValueError, match="rendered page"):
        sealed_in(tmp_path, render=page)
    assert not list((tmp_path / record().run_id).iterdir())
