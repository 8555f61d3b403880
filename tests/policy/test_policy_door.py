"""Policy files: the built-in ones, and bad ones that each end in one UsageError with file, field and cure."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tcabench.errors import PluginError, UsageError
from tcabench.policy import BUILTIN, judge, load_policy, parse_policy
from tcabench.policy.limits import METRIC_UNITS, parse_limit, plain
from tcabench.records import Outcome, Quantity, Value
from tcabench.workload.catalogue import read_index

GOOD = """
id: mine
version: 1
title: Mine
scope: {boundary: [chip]}
evidence: {min_grade: E1, min_window_s: 30}
decision_rule: guard_band
checks:
  - {id: t, metric: output_tokens_per_kwh, ">=": 15000 token/kWh}
"""


def swapped(old: str, new: str) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new).encode()


def test_a_good_policy() -> None:
    policy = parse_policy(GOOD.encode())
    assert (policy.id, policy.version, policy.decision_rule) == ("mine", 1, "guard_band")
    assert policy.yaml_bytes == GOOD.encode()
    assert len(policy.digest) == 64
    assert [check.id for check in policy.requirements] == [
        "run.complete",
        "scope",
        "evidence.min_grade",
        "evidence.readings",
        "evidence.min_window_s",
    ]


def test_levers_and_quality_are_requirements() -> None:
    policy = parse_policy(swapped("decision_rule", "levers: equivalent\nquality: identical\ndecision_rule"))
    assert [check.id for check in policy.requirements][-2:] == ["system.levers", "system.quality"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("decision_rule", "levers: approximate\ndecision_rule", "levers: .*'equivalent'"),
        ("decision_rule", "quality: perfect\ndecision_rule", "quality: .*'identical' or 'equivalent'"),
        ("id: t,", "id: system.levers,", "reserved"),
        ("title: Mine\n", "", "title: Field required"),
        ("decision_rule", "decison_rule", "decison_rule: unknown key; did you mean 'decision_rule'?"),
        ("guard_band", "lenient", "decision_rule: .*'guard_band' or 'simple'"),
        ("boundary: [chip]", "boundary: [board]", "scope.boundary.0: .*'chip'"),
        ("boundary: [chip]", "boundary: []", "scope.boundary: "),
        ("boundary: [chip]", "", "scope: nothing is given"),
        ("boundary: [chip]", "bondary: [chip]", "scope.bondary: unknown key; did you mean 'boundary'?"),
        ("min_grade: E1", "min_grade: E8", r"evidence.min_grade: .*\(got 'E8'\)"),
        ("min_window_s: 30", "min_window_s: -1", "evidence.min_window_s"),
        ("min_window_s: 30", "min_window: 30", "evidence.min_window: unknown key; did you mean 'min_window_s'?"),
        ("checks:\n", "checks: []\nchekcs:\n", "unknown key; did you mean 'checks'?"),
        (
            "metric: output",
            "metrik: output",
            r"checks\.0: metric: Field required; metrik: unknown key; did you mean 'metric'\?",
        ),
        (
            "output_tokens_per_kwh",
            "tokens_per_kwh",
            "no metric 'tokens_per_kwh'. Did you mean 'output_tokens_per_kwh'?",
        ),
        ('">="', '"=>"', "checks.0: '?=>'?: unknown key"),
        ('">=": 15000 token/kWh', "", "give exactly one limit"),
        ('">=": 15000', '"<=": 9 token/kWh, ">=": 15000', "give exactly one limit"),
        (
            "15000 token/kWh",
            "15000 tokens/kWh",
            "is in token/kWh, but the limit .* is in tokens/kWh; write the limit in",
        ),
        ("15000 token/kWh", "240 J/token", "J/token is the unit of j_per_output_token or "),
        ("15000 token/kWh", "15000", "has no unit; write the limit in token/kWh"),
        ("15000 token/kWh", "'15,000 token/kWh'", "'15,000 token/kWh' is not a limit"),
        ("15000 token/kWh", "many token/kWh", "'many token/kWh' is not a limit; write a number, a blank and a unit"),
        ("15000 token/kWh", ".nan", "nan is not a limit"),
        ("15000 token/kWh", "true", "True is not a limit"),
        ("15000 token/kWh", "[15000]", r"\[15000\] is not a limit"),
        ("boundary: [chip]", "model: 3", r"scope\.model: .*valid list \(got 3\)"),
        ("15000 token/kWh", "1e999 token/kWh", "larger than any result"),
        ("id: t,", "id: scope,", "id 'scope' is reserved"),
        ("id: t,", "id: t, kind: treshold,", "checks.0: kind: no check 'treshold'. Did you mean 'threshold'?"),
        ("id: t,", "id: t, kind: [threshold],", "is not the name of a check"),
        ("id: t,", "id: t, severity: warn,", "all are of severity warn"),
        ("id: t,", "id: t, severity: info,", "checks.0: severity: "),
        ("title: Mine", "title: Mine\nid: other", "key 'id' is given twice"),
        ("id: t,", "id: t, id: u,", "key 'id' is given twice"),
        ("version: 1", "version: &v 1\nnote: *v", "aliases"),
    ],
)
def test_a_wrong_policy_is_told(old: str, new: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        parse_policy(swapped(old, new), "tender.yaml")
    assert "tender.yaml" in str(caught.value)


def test_an_empty_policy_is_refused() -> None:
    text = GOOD[: GOOD.index("checks:")]
    with pytest.raises(UsageError, match="checks: the policy asks for nothing"):
        parse_policy((text + "checks: []\n").encode())
    with pytest.raises(UsageError, match="checks: Field required"):
        parse_policy(text.encode())


def test_two_checks_of_one_id_are_refused() -> None:
    twice = GOOD + '  - {id: t, metric: error_rate, "<=": 0.01}\n'
    with pytest.raises(UsageError, match="id 't' is used 2 times"):
        parse_policy(twice.encode())


@pytest.mark.parametrize(
    "data", [b"", b"just words", b"[1, 2]", b"\xff\xfe\x00", b"{", b"a: b\n--- \nc: d", b"x" * 1_000_001]
)
def test_bytes_that_are_no_policy_are_told(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"^tender\.yaml: "):
        parse_policy(data, "tender.yaml")


@pytest.mark.parametrize(
    ("metric", "given", "told"),
    [
        ("j_per_output_token", "15000 token/kWh", "unit of output_tokens_per_kwh: name that metric"),
        ("ttft.p50", "200 ms", "write the limit in s"),
        ("error_rate", "1 %", "plain ratio without a unit, e.g. 0.01"),
        ("power_mean", "0.5 kW", "write the limit in W"),
        ("power_mean", "5 J/request", "unit of j_per_request"),
    ],
)
def test_a_limit_in_another_unit_is_refused_with_the_cure(metric: str, given: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_limit(given, metric)


@pytest.mark.parametrize(("given", "shown"), [(0.01, "0.01"), ("0.01", "0.01"), ("1e-3", "0.001"), (1, "1")])
def test_a_ratio_is_a_plain_number(given: float | str, shown: str) -> None:
    assert str(parse_limit(given, "error_rate")) == shown


@pytest.mark.parametrize(
    ("x", "shown"),
    [
        (0, "0"),
        (15_000, "15,000"),
        (8_000_000, "8,000,000"),
        (0.05, "0.05"),
        (123.456, "123.5"),
        (1e-9, "1e-09"),
        (999.96, "1000"),
    ],
)
def test_numbers_for_a_sentence(x: float, shown: str) -> None:
    assert plain(x) == shown


# --- built in ------------------------------------------------------------------------------------

FACTS = {
    "grade": "E2",
    "lost_rel": 0.0,
    "boundary": "chip",
    "model": "Llama-3.1-8B-Instruct",
    "workload": "chat",
    "workload_version": 1,
    "workload_digest": read_index()["chat"].sha256,
    "window_s": 75.0,
    "concurrency": 8,
    "complete": True,
    "stat_rel": 0.01,
}


def run(tokens_per_kwh: float, width: float = 0.05, error_rate: float = 0.0, itl_s: float = 0.02) -> dict[str, Value]:
    low, high = tokens_per_kwh * (1 - width), tokens_per_kwh * (1 + width)
    return {
        "output_tokens_per_kwh": Quantity(tokens_per_kwh, low, high, "token/kWh"),
        "error_rate": Quantity.exact(error_rate, "1"),
        "itl.p50": Quantity(itl_s, itl_s * 0.95, itl_s * 1.05, "s"),
    }


@pytest.mark.parametrize("name", BUILTIN)
def test_each_builtin_loads_and_explains_itself(name: str) -> None:
    policy = load_policy(name)
    assert policy.id == name
    assert policy.title
    assert "Source" in policy.note


def test_the_builtin_folder_holds_no_policy_that_is_not_listed() -> None:
    import tcabench.policy

    folder = Path(tcabench.policy.__file__).parent / "builtin"
    assert {p.stem for p in folder.glob("*.yaml")} == {*BUILTIN, "published"}


def test_the_letter_says_what_it_is_worth() -> None:
    note = load_policy("letter-15k").note
    assert "15,000 token/kWh is 240 J/token" in note
    assert "all 838 public configurations of the ML.ENERGY leaderboard v3" in note


@pytest.mark.parametrize(
    ("tokens_per_kwh", "grade", "outcome"),
    [
        (16_000, "E1", Outcome.PASS),
        (15_000, "E1", Outcome.INCONCLUSIVE),
        (14_000, "E1", Outcome.FAIL),
        (6e6, "E0", Outcome.INCONCLUSIVE),
    ],
)
def test_letter_15k(tokens_per_kwh: float, grade: str, outcome: Outcome) -> None:
    assert judge(load_policy("letter-15k"), run(tokens_per_kwh), FACTS | {"grade": grade}).overall is outcome


def test_indicative_takes_an_estimate_and_says_only_that_the_run_is_sound() -> None:
    policy, facts = load_policy("indicative"), FACTS | {"grade": "E0"}
    assert judge(policy, run(1, width=0.9), facts).overall is Outcome.PASS
    assert judge(policy, run(1, error_rate=0.02), facts).overall is Outcome.FAIL
    assert judge(policy, run(1), facts | {"window_s": 29.0}).overall is Outcome.INCONCLUSIVE
    assert judge(policy, run(1), facts | {"grade": None}).overall is Outcome.INCONCLUSIVE
    assert judge(policy, run(1), facts | {"complete": False}).overall is Outcome.INCONCLUSIVE


def test_the_estimate_policy_is_the_only_one_that_takes_an_estimate() -> None:
    for name in BUILTIN:
        passed = judge(load_policy(name), run(1e9), FACTS | {"grade": "E0"}).overall is Outcome.PASS
        assert passed == (name == "indicative")


@pytest.mark.parametrize(
    ("values", "facts", "outcome"),
    [
        (run(9e6), {}, Outcome.PASS),
        (run(9e6), {"model": "meta-llama/Meta-Llama-3.1-8B-Instruct"}, Outcome.PASS),
        (run(9e6), {"model": "llama3.1:8b"}, Outcome.PASS),
        (run(9e6), {"model": "SmolLM2-135M-Instruct"}, Outcome.NOT_APPLICABLE),
        (run(9e6), {"boundary": "node"}, Outcome.NOT_APPLICABLE),
        (run(9e6), {"workload_digest": "0" * 64}, Outcome.NOT_APPLICABLE),
        (run(9e6), {"grade": "E1"}, Outcome.INCONCLUSIVE),
        (run(8e6), {}, Outcome.INCONCLUSIVE),
        (run(7e6), {}, Outcome.FAIL),
        (run(9e6, itl_s=0.06), {}, Outcome.FAIL),
    ],
)
def test_llama_chat(values: dict[str, Value], facts: dict[str, object], outcome: Outcome) -> None:
    assert judge(load_policy("llama-3.1-8b-chat"), values, FACTS | facts).overall is outcome


def test_the_pinned_workload_of_the_model_bound_policy_is_the_shipped_one() -> None:
    scope = yaml.safe_load(load_policy("llama-3.1-8b-chat").yaml_bytes)["scope"]
    pinned = read_index()[scope["workload"]]
    assert (scope["workload_version"], scope["workload_digest"]) == (pinned.version, pinned.sha256)


def test_a_policy_file_is_loaded_by_path(tmp_path: Path) -> None:
    (tmp_path / "tender.yaml").write_text(GOOD, "utf-8")
    assert load_policy(str(tmp_path / "tender.yaml")) == parse_policy(GOOD.encode(), str(tmp_path / "tender.yaml"))
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_policy(str(tmp_path / "none.yaml"))
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_policy(f"{tmp_path}/")


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"no policy 'letter-15'\. Did you mean 'letter-15k'\?"):
        load_policy("letter-15")
    with pytest.raises(UsageError, match="no policy 'published'"):
        load_policy("published")


def test_a_plugin_brings_a_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A real installed distribution with entry points, found through importlib.metadata."""
    (tmp_path / "fair-1.dist-info").mkdir()
    (tmp_path / "fair-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: fair\nVersion: 1\n")
    points = "[tcabench.checks]\neven = fair_plugin:Even\nodd = fair_plugin:NUMBER\n"
    points += "[tcabench.metrics]\ngrams = fair_plugin:NUMBER\n"
    (tmp_path / "fair-1.dist-info" / "entry_points.txt").write_text(points)
    (tmp_path / "fair_plugin.py").write_text(
        "from tcabench.policy.checks.check import Check\n"
        "from tcabench.records import Outcome\n"
        "NUMBER = 7\n"
        "class Even(Check):\n"
        "    def judge(self, values, facts, rule):\n"
        "        return self.verdict(Outcome.FAIL, 'an even number', 'It is odd.')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    even = GOOD + "  - {id: even, kind: even}\n"
    assert judge(parse_policy(even.encode()), run(1e6), FACTS).reason == "even: It is odd."
    with pytest.raises(PluginError, match="'odd' is not a Check"):
        parse_policy((GOOD + "  - {id: odd, kind: odd}\n").encode())
    grams = parse_policy((GOOD + '  - {id: g, metric: grams, "<=": 5 g}\n').encode())
    assert parse_limit("5 g", "grams.p50").unit == "g"
    assert judge(grams, run(1e6) | {"grams": Quantity.exact(4, "g")}, FACTS).overall is Outcome.PASS
    assert judge(grams, run(1e6) | {"grams": Quantity.exact(4, "kg")}, FACTS).overall is Outcome.INCONCLUSIVE


def test_units_of_metrics_are_the_plain_ones() -> None:
    assert set(METRIC_UNITS.values()) == {
        "token/kWh",
        "J/token",
        "J/request",
        "J/answer",
        "W",
        "s",
        "token/s",
        "request/s",
        "1",
        "token",
        "kWh",
        "kg/kWh",
        "L/kWh",
        "g/ktoken",
    }


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, tcabench.policy, tcabench.workload; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "torch", "pandas", "pyarrow", "matplotlib", "jinja2", "aiohttp"} & set(loaded)


def test_every_default_metric_has_a_unit_that_a_limit_may_use() -> None:
    """The table here and the metrics themselves say the same; stages may not import each other, so this test does."""
    from tcabench.metrics import METRICS

    for name in METRICS.table():
        unit = METRICS.load(name).unit
        named = [METRIC_UNITS[key] for key in METRIC_UNITS if key.split(".")[0] == name]
        assert named, name
        assert set(named) == {unit}, name


def test_heat_is_limited_loop_by_loop() -> None:
    assert parse_limit("3 kWh", "heat_removed.loop1").unit == "kWh"
