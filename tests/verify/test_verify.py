"""Seal, then verify: what is whole is VALID, and each way of not being whole has its own answer."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

import tcabench
from tcabench.errors import UsageError
from tcabench.evidence import slot
from tcabench.evidence.dsse import Envelope, read_bundle, sign, write_bundle
from tcabench.evidence.pack import MANIFEST, build_pack, open_pack, unpack
from tcabench.evidence.signers.file_key import open_file_key
from tcabench.evidence.slot import CLOSE, EVIDENCE_OPEN, SLOT_OPEN, encoded, split_page
from tcabench.evidence.statement import read_statement, write_statement
from tcabench.policy import load_policy, parse_policy
from tcabench.records import Quantity, Status
from tcabench.verify import Checked, Standing, Trust, load_trust, verification_document, verify
from tests.evidence import sample_run
from tests.evidence.sample_run import SIGNED_AT_NS, page_of, record, result_of, sealed_in, trust_in

VALID, ALTERED, INVALID, UNKNOWN = Standing.VALID, Standing.PAGE_ALTERED, Standing.INVALID, Standing.UNKNOWN_SIGNER
OK, FAIL, NOT_CHECKED = Checked.OK, Checked.FAIL, Checked.NOT_CHECKED


@pytest.fixture
def sealed(tmp_path):
    return sealed_in(tmp_path)


@pytest.fixture
def stranger(tmp_path):
    return open_file_key(tmp_path / "stranger.pem")


def outcomes(found):
    return [step.outcome for step in found.steps]


def checked(path, content, trust, policy=None):
    path.write_bytes(content)
    return verify(path, trust, policy)


# --- whole ------------------------------------------------------------------------------------------


def test_a_sealed_run_is_valid(sealed):
    found = verify(sealed.run.report, sealed.trust)
    assert (found.verdict, found.exit_code, found.complete) == (VALID, 0, True)
    assert outcomes(found) == [OK, OK, OK, NOT_CHECKED, OK, OK, NOT_CHECKED]
    assert [step.number for step in found.steps] == [1, 2, 3, 4, 5, 6, 7]
    assert found.result == result_of(sealed.record)
    assert found.judgement == sealed.record.judgement
    assert found.judged_by == "the bundle's own policy indicative"
    assert [(s.owner, s.role, s.holds) for s in found.signatures] == [("Rig 1", "vendor", True)]
    assert (found.differences, found.warnings) == ((), ())


def test_a_bundle_by_itself_is_valid_and_says_that_there_was_no_page(sealed):
    sealed.run.report.unlink()
    found = verify(sealed.run.tcab, sealed.trust)
    assert found.verdict is VALID
    assert "no page" in found.steps[1].detail


def test_evidence_too_large_for_the_page_is_read_from_beside_it(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(slot, "MOST_EMBEDDED_CHARS", 1_000)
        sealed = sealed_in(tmp_path)
    assert verify(sealed.run.report, sealed.trust).verdict is VALID
    whole = sealed.run.tcab.read_bytes()
    assert checked(sealed.run.tcab, whole[:-1], sealed.trust).verdict is INVALID
    assert verify(sealed.run.report, sealed.trust).verdict is INVALID
    sealed.run.tcab.unlink()
    found = verify(sealed.run.report, sealed.trust)
    assert found.verdict is INVALID
    assert sealed.run.tcab.name in found.steps[0].detail


def test_the_users_own_key_is_trusted_as_their_own(tmp_path):
    sealed = sealed_in(tmp_path, key=open_file_key())
    found = verify(sealed.run.report, load_trust())
    assert (found.verdict, found.signatures[0].role) == (VALID, "self")
    assert verify(sealed.run.report, load_trust(own=False)).verdict is UNKNOWN


def test_two_signers_are_both_needed(sealed, stranger):
    page = split_page(sealed.run.report.read_bytes())
    one = read_bundle(page.slot)[0]
    both = page.filled(write_bundle((one, sign(one.payload, stranger))))
    assert checked(sealed.run.report, both, sealed.trust).verdict is UNKNOWN
    assert verify(sealed.run.report, trust_in(sealed.key, stranger)).verdict is VALID


def test_the_machine_readable_form_is_json(sealed):
    document = json.loads(json.dumps(verification_document(verify(sealed.run.report, sealed.trust))))
    assert (document["verdict"], document["exit_code"]) == ("VALID", 0)
    assert document["steps"][4] == {"number": 5, "name": "recompute", "outcome": "OK"} | {
        "detail": document["steps"][4]["detail"]
    }


# --- policies ---------------------------------------------------------------------------------------


def own_policy(check, grade="E1"):
    clause = f"{{id: eff, metric: output_tokens_per_kwh, {check}}}"
    return parse_policy(
        f"{{id: own, version: 1, title: Own, evidence: {{min_grade: {grade}}}, checks: [{clause}]}}".encode()
    )


@pytest.mark.parametrize(
    ("check", "grade", "overall", "code", "step"),
    [
        ('">=": 700000 token/kWh', "E1", "PASS", 0, OK),
        ('">=": 900000 token/kWh', "E1", "FAIL", 3, FAIL),
        ('">=": 760000 token/kWh', "E1", "INCONCLUSIVE", 6, NOT_CHECKED),
        ('">=": 700000 token/kWh', "E5", "INCONCLUSIVE", 6, NOT_CHECKED),
    ],
)
def test_a_policy_of_ones_own_judges_the_recomputed_values(sealed, check, grade, overall, code, step):
    found = verify(sealed.run.report, sealed.trust, own_policy(check, grade))
    assert (found.verdict, found.judgement.overall.value, found.exit_code) == (VALID, overall, code)
    assert (found.steps[6].outcome, found.judged_by) == (step, "your policy own")


def test_a_policy_cannot_make_up_for_evidence_that_does_not_hold(sealed):
    found = checked(
        sealed.run.report, sealed.run.report.read_bytes()[:-1], sealed.trust, own_policy('">": 0 token/kWh')
    )
    assert (found.verdict, found.exit_code) == (ALTERED, 5)


@pytest.mark.parametrize("last", ["idle_after_end", "drain_end", "load_stop", "load_start", "idle_end"])
def test_an_incomplete_run_can_be_valid_evidence_and_passes_nothing(tmp_path, last):
    sealed = sealed_in(tmp_path, record(complete=False, last=last))
    found = verify(sealed.run.report, sealed.trust)
    assert (found.verdict, found.complete, found.exit_code) == (VALID, False, 0)
    assert "INCOMPLETE" in found.steps[6].detail
    for policy in (own_policy('">": 0 token/kWh'), load_policy("indicative")):
        assert verify(sealed.run.report, sealed.trust, policy).exit_code == 6


def test_no_judgement_lets_an_incomplete_run_pass(sealed):
    found = verify(sealed.run.report, sealed.trust, own_policy('">": 0 token/kWh'))
    assert (found.exit_code, replace(found, complete=False).exit_code) == (0, 6)


def test_a_run_that_broke_off_cannot_call_itself_complete(tmp_path):
    sealed = sealed_in(tmp_path, record(complete=True, last="load_stop"))
    found = verify(sealed.run.report, sealed.trust)
    assert (found.verdict, found.steps[5].outcome) == (INVALID, FAIL)
    assert "A-22" in found.steps[5].detail


# --- altered by others ------------------------------------------------------------------------------


def test_a_number_changed_on_the_page(sealed):
    page = sealed.run.report.read_bytes().replace(b">768000<", b">968000<")
    assert page != sealed.run.report.read_bytes()
    found = checked(sealed.run.report, page, sealed.trust)
    assert (found.verdict, found.exit_code) == (ALTERED, 5)
    assert outcomes(found)[:3] == [OK, FAIL, OK]


def test_a_page_of_lies_around_true_data_shows_which_numbers_are_lies(sealed):
    page = sealed.run.report.read_bytes().replace(b'value="768000"', b'value="968000"')
    found = checked(sealed.run.report, page, sealed.trust)
    assert found.verdict is ALTERED
    assert "values/output_tokens_per_kwh/value" in found.steps[4].detail
    assert "'768000'" in found.steps[4].detail


def test_line_ends_changed_by_a_mail_gateway_cost_the_page_and_not_the_data(sealed):
    page = sealed.run.report.read_bytes().replace(b"\n", b"\r\n")
    assert checked(sealed.run.report, page, sealed.trust).verdict is ALTERED


def test_line_ends_changed_in_the_slot_alone_are_seen(sealed):
    page = split_page(sealed.run.report.read_bytes())
    changed = page.filled(page.slot.replace(b"\n", b"\r\n"))
    assert checked(sealed.run.report, changed, sealed.trust).verdict is ALTERED


def test_signed_again_by_a_stranger(sealed, stranger):
    page = split_page(sealed.run.report.read_bytes())
    payload = read_bundle(page.slot)[0].payload
    found = checked(sealed.run.report, page.filled(write_bundle((sign(payload, stranger),))), sealed.trust)
    assert (found.verdict, found.exit_code) == (UNKNOWN, 5)
    assert found.steps[2].outcome is FAIL
    assert stranger.fingerprint() in found.steps[2].detail


def test_a_stranger_under_the_name_of_a_known_key(sealed, stranger):
    page = split_page(sealed.run.report.read_bytes())
    forged = replace(sign(read_bundle(page.slot)[0].payload, stranger), keyid=sealed.key.keyid)
    found = checked(sealed.run.report, page.filled(write_bundle((forged,))), sealed.trust)
    assert (found.verdict, found.steps[2].outcome) == (INVALID, FAIL)


def test_a_report_made_by_a_stranger_from_end_to_end(tmp_path, sealed, stranger):
    forged = sealed_in(tmp_path / "other", key=stranger)
    assert verify(forged.run.report, sealed.trust).verdict is UNKNOWN
    assert verify(forged.run.tcab, sealed.trust).verdict is UNKNOWN
    assert verify(forged.run.tcab, Trust({})).verdict is UNKNOWN


def test_evidence_of_another_run_of_the_same_rig(tmp_path, sealed):
    other = sealed_in(tmp_path / "b", record("20261123T130000Z-def456"), key=sealed.key)
    page, theirs = (split_page(s.run.report.read_bytes()) for s in (sealed, other))
    mine, swapped = (encoded(s.run.tcab.read_bytes()).encode() for s in (sealed, other))
    cases = [
        page.filled(page.slot).replace(mine, swapped),
        page.filled(theirs.slot),
        theirs.filled(page.slot),
    ]
    for content in cases:
        assert checked(sealed.run.report, content, sealed.trust).verdict is not VALID
    shutil.copy(other.run.tcab, sealed.run.tcab)
    assert verify(sealed.run.tcab, sealed.trust).verdict is INVALID
    shutil.copy(other.run.attestation, sealed.run.attestation)
    assert verify(sealed.run.tcab, sealed.trust).verdict is VALID  # it is then the other run, whole
    assert verify(sealed.run.tcab, sealed.trust).result["run_id"] == "20261123T130000Z-def456"


def _block(page):
    start = page.index(EVIDENCE_OPEN)
    return page[start : page.index(CLOSE, start) + len(CLOSE)]


BREAKS = {
    "no slot": lambda page: page.replace(SLOT_OPEN, b"<p>"),
    "empty slot": lambda page: split_page(page).filled(b""),
    "two slots": lambda page: page.replace(b"<ul>", SLOT_OPEN + b"</script><ul>"),
    "two slots, other spelling": lambda page: page.replace(b"<ul>", b"<SCRIPT\nID=tca-sig></SCRIPT><ul>"),
    "slot moved into another": lambda page: page.replace(SLOT_OPEN, b"<script>" + SLOT_OPEN),
    "slot never closed": lambda page: page[: page.index(SLOT_OPEN) + 200],
    "two evidence blocks": lambda page: page.replace(b"<ul>", _block(page) + b"<ul>"),
    "evidence with blanks": lambda page: page.replace(EVIDENCE_OPEN, EVIDENCE_OPEN + b"\n"),
    "evidence gone": lambda page: page.replace(_block(page), b""),
    "signature twice": lambda page: split_page(page).filled(split_page(page).slot * 2),
    "cut off": lambda page: page[: len(page) // 2],
    "empty": lambda page: b"",
    "not a page": lambda page: b"\x00\xff" * 100,
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_page_that_is_not_what_seal_writes(sealed, name):
    sealed.run.tcab.unlink()
    content = BREAKS[name](sealed.run.report.read_bytes())
    found = checked(sealed.run.report, content, sealed.trust)
    assert found.verdict is not VALID
    if name != "slot moved into another":  # a change of the page alone
        assert (found.verdict, found.steps[0].outcome) == (INVALID, FAIL)
        assert outcomes(found)[4:] == [NOT_CHECKED] * 3


def test_a_bundle_without_its_signatures(sealed):
    sealed.run.attestation.unlink()
    found = verify(sealed.run.tcab, sealed.trust)
    assert found.verdict is INVALID
    assert "attestation.jsonl" in found.steps[0].detail


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path):
    for name in ("gone.html", "gone.tcab"):
        with pytest.raises(UsageError, match="gone"):
            verify(tmp_path / name, Trust({}))


def test_a_file_beyond_the_limit_is_not_read(sealed, monkeypatch):
    monkeypatch.setattr("tcabench.verify.container.MAX_PAGE_BYTES", 1_000)
    found = verify(sealed.run.report, sealed.trust)
    assert (found.verdict, "larger than" in found.steps[0].detail) == (INVALID, True)


# --- lies of the signer -----------------------------------------------------------------------------


def relied(sealed, **changed):
    """The sealed page with members changed and everything signed again by the same, trusted key."""
    members = {k: v for k, v in unpack(sealed.run.tcab.read_bytes()).items() if k != MANIFEST} | changed
    tcab, root = build_pack(sealed.record.run_id, members)
    page = split_page(page_of(result_of(sealed.record), tcab))
    statement = read_statement(read_bundle(sealed.run.attestation.read_bytes())[0].payload)
    news = {"evidence": root, "evidence.tcab": sha256(tcab).hexdigest(), "page": page.sha256()}
    news["policy"] = sha256(members["policy.yaml"]).hexdigest()
    for subject in statement["subject"]:
        subject["digest"]["sha256"] = news.get(subject["name"], subject["digest"]["sha256"])
    return page.filled(write_bundle((sign(write_statement(statement), sealed.key),)))


def test_changing_nothing_and_signing_again_is_valid(sealed):
    assert checked(sealed.run.report, relied(sealed), sealed.trust).verdict is VALID


def _swap(name, old, new):
    return lambda members: {name: members[name].replace(old, new)}


def _events(members, keep):
    lines = members["events.jsonl"].splitlines(keepends=True)
    return {"events.jsonl": b"".join(keep(lines))}


LIES = {
    "a value in result.json": _swap("result.json", b'"768000"', b'"868000"'),
    "a clause in result.json": _swap("result.json", b'"outcome":"PASS"', b'"outcome":"FAIL"'),
    "a key too many": _swap("result.json", b'{"boundary"', b'{"a":"b","boundary"'),
    "another spelling": _swap("result.json", b'{"boundary"', b'{ "boundary"'),
    "the window in the plan": _swap("plan.json", b'"warmup_s":4', b'"warmup_s":8'),
    "the model in the plan": _swap("plan.json", b'"sample-model"', b'"better-model"'),
    "the workload in the plan": _swap("plan.json", sha256(b"workload").hexdigest().encode(), b"0" * 64),
    "the policy": lambda members: {"policy.yaml": load_policy("letter-15k").yaml_bytes},
    "no policy": lambda members: {"policy.yaml": b"[]"},
    "the meter's accuracy": _swap("channels.json", b'"gain_high":1.05', b'"gain_high":1.0'),
    "a channel gone": _swap("channels.json", b"nvml:gpu0:energy", b"nvml:gpu1:energy"),
    "a phase moved": lambda m: _events(m, lambda lines: [*lines[:3], lines[3].replace(b'"t":1', b'"t":2'), *lines[4:]]),
    "a phase gone": lambda members: _events(members, lambda lines: lines[:-1]),
    "phases out of order": lambda members: _events(members, lambda lines: [lines[0], *reversed(lines[1:])]),
    "a phase twice": lambda members: _events(members, lambda lines: [*lines, lines[-1]]),
    "an event without a name": lambda members: _events(members, lambda lines: [*lines, b'{"t":1}\n']),
    "an event that is a list": lambda members: _events(members, lambda lines: [*lines, b"[]\n"]),
    "a torn event": lambda members: _events(members, lambda lines: [*lines[:-1], lines[-1][:-1]]),
    "no plan": lambda members: {"plan.json": b"{}"},
    "a plan that is a list": lambda members: {"plan.json": b"[]"},
    "a plan key twice": _swap("plan.json", b'{"api"', b'{"seed":1,"api"'),
    "a ledger with a gap": lambda members: {"ledger.jsonl": b"".join(members["ledger.jsonl"].splitlines(True)[1:])},
    "a table cut short": lambda members: {"power.parquet": members["power.parquet"][:-10]},
    "an empty table": lambda members: {"requests.parquet": b""},
    "tables exchanged": lambda members: {"requests.parquet": members["power.parquet"]},
}


@pytest.mark.parametrize("name", LIES)
def test_evidence_that_contradicts_itself_is_invalid_though_well_signed(sealed, name):
    members = dict(open_pack(sealed.run.tcab.read_bytes()).members)
    changed = LIES[name](members)
    assert any(members[file] != content for file, content in changed.items())
    found = checked(sealed.run.report, relied(sealed, **changed), sealed.trust)
    assert (found.verdict, found.exit_code) == (INVALID, 5)
    assert outcomes(found)[:3] == [OK, OK, OK]


def _one_trace(run, **news):
    """The run with one request changed that was asked and answered inside the window."""
    at = len(run.traces) // 2
    return replace(run, traces=(*run.traces[:at], replace(run.traces[at], **news), *run.traces[at + 1 :]))


DOCTORED = {
    "less power": lambda run: replace(
        run, samples=tuple(replace(s, value=s.value * 0.99) if "power" in s.channel else s for s in run.samples)
    ),
    "less energy": lambda run: replace(
        run, samples=tuple(replace(s, value=s.value * 0.999) if "energy" in s.channel else s for s in run.samples)
    ),
    "more tokens": lambda run: replace(run, traces=tuple(replace(t, output_tok=65) for t in run.traces)),
    "a request twice": lambda run: replace(run, traces=(*run.traces, run.traces[-1])),
    "a request left out": lambda run: replace(run, traces=run.traces[:-1]),
    "a failure hidden": lambda run: _one_trace(run, status=Status.TIMEOUT, chunk_ns=()),
    "an answer before its question": lambda run: _one_trace(run, sent_ns=run.traces[-1].end_ns),
    "a request outside the run": lambda run: _one_trace(run, end_ns=run.window.drain_end_ns + 2_000_000_000),
    "a reading out of order": lambda run: replace(run, samples=(*run.samples, run.samples[0])),
    "a reading of nothing": lambda run: replace(run, samples=(*run.samples, replace(run.samples[0], channel="x"))),
    "a better value": lambda run: replace(run, values=run.values | {"power_mean": Quantity(200.0, 190.0, 210.0, "W")}),
    "a value more": lambda run: replace(run, values=run.values | {"speed": Quantity(1.0, 1.0, 1.0, "1")}),
    "a value less": lambda run: replace(run, values={k: v for k, v in run.values.items() if k != "ttft.p50"}),
    "a better grade": lambda run: replace(run, energy=replace(run.energy, grade="E6")),
    "a narrower budget": lambda run: replace(run, energy=replace(run.energy, components=run.energy.components[:-1])),
    "no window": lambda run: replace(run, window=None),
}


@pytest.mark.parametrize("name", DOCTORED)
def test_a_record_doctored_before_it_was_sealed_is_invalid(tmp_path, name):
    run = DOCTORED[name](record())
    sealed = sealed_in(tmp_path, run)
    found = verify(sealed.run.report, sealed.trust)
    assert (found.verdict, found.exit_code) == (INVALID, 5)
    assert FAIL in outcomes(found)[4:6]


def test_a_difference_is_named_with_both_numbers(tmp_path):
    sealed = sealed_in(tmp_path, DOCTORED["a better value"](record()))
    found = verify(sealed.run.report, sealed.trust)
    assert "values/power_mean/value: stated '200', recomputed '300'" in found.differences


SIGNED_LIES = {
    "another number": lambda page: page.replace(b'value="768000"', b'value="968000"'),
    "a number of nothing": lambda page: page.replace(
        b"<ul>", b'<ul><data data-tca="values/x/value" value="1">1</data>'
    ),
    "a path without a number": lambda page: page.replace(b'value="768000"', b"", 1),
    "an attribute given twice": lambda page: page.replace(b'value="768000"', b'value="1" value="768000"', 1),
    "another element": lambda page: page.replace(b"<ul>", b"<DD DATA-TCA=grade value=E7>E7</DD><ul>"),
}


@pytest.mark.parametrize("name", SIGNED_LIES)
def test_a_page_that_was_signed_showing_something_else_is_invalid(tmp_path, name):
    sealed = sealed_in(tmp_path, render=lambda result, evidence: SIGNED_LIES[name](page_of(result, evidence)))
    found = verify(sealed.run.report, sealed.trust)
    assert (found.verdict, found.steps[4].outcome) == (INVALID, FAIL)
    assert outcomes(found)[:3] == [OK, OK, OK]


def test_a_summary_that_says_other_than_the_evidence_is_invalid(sealed):
    page = split_page(sealed.run.report.read_bytes())
    payload = read_bundle(page.slot)[0].payload.replace(b'"grade":"E2"', b'"grade":"E6"')
    found = checked(sealed.run.report, page.filled(write_bundle((sign(payload, sealed.key),))), sealed.trust)
    assert found.verdict is INVALID
    assert "statement/predicate/grade: stated 'E6', recomputed 'E2'" in found.differences


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"energy-benchmark:v1", b"energy-benchmark:v9"),
        (b"https://in-toto.io/Statement/v1", b"https://in-toto.io/Statement/v0"),
        (b'"name":"page"', b'"name":"pages"'),
        (b'"name":"workload"', b'"name":"page"'),
        (b'"run_id":"2026', b'"run_id":"../2026'),
        (b'"complete":true', b'"complete":"yes"'),
        (b'"signed_at_ns":"', b'"signed_at_ns":"-'),
        (b'{"_type"', b'{ "_type"'),
    ],
)
def test_a_statement_of_another_kind_is_not_read_as_ours(sealed, old, new):
    page = split_page(sealed.run.report.read_bytes())
    payload = read_bundle(page.slot)[0].payload
    assert old in payload
    signed = sign(payload.replace(old, new), sealed.key)
    found = checked(sealed.run.report, page.filled(write_bundle((signed,))), sealed.trust)
    assert (found.verdict, found.steps[0].outcome) == (INVALID, FAIL)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("evidence", INVALID), ("evidence.tcab", INVALID), ("policy", INVALID), ("page", ALTERED), ("model", INVALID)],
)
def test_each_subject_is_held_against_its_own_bytes(sealed, name, verdict):
    page = split_page(sealed.run.report.read_bytes())
    statement = read_statement(read_bundle(page.slot)[0].payload)
    next(s for s in statement["subject"] if s["name"] == name)["digest"]["sha256"] = "0" * 64
    signed = page.filled(write_bundle((sign(write_statement(statement), sealed.key),)))
    assert checked(sealed.run.report, signed, sealed.trust).verdict is verdict


def test_signatures_over_two_statements_are_refused(sealed, stranger):
    page = split_page(sealed.run.report.read_bytes())
    one = read_bundle(page.slot)[0]
    other = sign(one.payload.replace(b'"grade":"E2"', b'"grade":"E6"'), stranger)
    both = page.filled(write_bundle((one, other)))
    assert checked(sealed.run.report, both, trust_in(sealed.key, stranger)).verdict is INVALID


def test_a_key_of_another_type_verifies_nothing(sealed):
    page = split_page(sealed.run.report.read_bytes())
    one = read_bundle(page.slot)[0]
    short = Envelope(one.payload_type, one.payload, one.keyid, b"")
    assert checked(sealed.run.report, page.filled(write_bundle((short,))), sealed.trust).verdict is INVALID


def test_signed_before_the_run_had_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_run, "SIGNED_AT_NS", SIGNED_AT_NS - 3_600 * 10**9)
    sealed = sealed_in(tmp_path)
    found = verify(sealed.run.report, sealed.trust)
    assert (found.verdict, found.steps[3].outcome) == (INVALID, FAIL)
    assert "before the run" in found.steps[3].detail


# --- what a reader should know ----------------------------------------------------------------------


def test_the_best_of_n_shows(tmp_path):
    sealed_in(tmp_path, record("20261123T110000Z-000001"))
    sealed = sealed_in(tmp_path)
    found = verify(sealed.run.report, sealed.trust)
    assert found.verdict is VALID
    assert found.warnings == ("A-08 run ledger: run 2 of 2 started on this rig so far: ask for the others",)


def test_a_ledger_that_does_not_know_the_run_is_told(sealed):
    found = checked(sealed.run.report, relied(sealed, **{"ledger.jsonl": b""}), sealed.trust)
    assert found.verdict is VALID
    assert "does not know this run" in found.warnings[0]


@pytest.mark.parametrize(("recounted", "warned"), [(64, False), (62, False), (60, True), (80, False), (None, False)])
def test_tokens_that_the_text_does_not_hold_are_told(tmp_path, recounted, warned):
    run = record()
    traces = tuple(replace(trace, recount_tok=recounted) for trace in run.traces)
    derived = sample_run.derive(
        run.plan, run.channels, traces, run.samples, run.events, load_policy("indicative"), complete=True
    )
    run = replace(run, traces=traces, values=derived.values, energy=derived.energy, judgement=derived.judgement)
    found = verify(sealed_in(tmp_path, run).run.report, trust_in(open_file_key(tmp_path / "key" / "ed25519.pem")))
    assert found.verdict is VALID
    assert [w.startswith("A-02") for w in found.warnings] == [True] * warned


# --- where it stands --------------------------------------------------------------------------------


def test_verify_loads_neither_load_nor_power_and_opens_no_connection(sealed):
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a connection')\n"
        "socket.socket.connect = refuse\n"
        "from pathlib import Path\n"
        "from tcabench.verify import load_trust, verify\n"
        "found = verify(Path(sys.argv[1]), load_trust())\n"
        "assert found.verdict == 'UNKNOWN SIGNER', found\n"
        "print(*sorted(sys.modules))\n"
    )
    root = Path(tcabench.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code, str(sealed.run.report)],
        capture_output=True, text=True, check=True, cwd=root, env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    loaded = done.stdout.split()
    assert "tcabench.energy" in loaded
    wrong = re.compile(r"tcabench\.(load|power|report|pipeline|cli)\b|aiohttp|torch|pandas|transformers|jinja2|pynvml")
    assert [name for name in loaded if wrong.match(name)] == []
