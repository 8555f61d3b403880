"""The kinds of check a policy can hold: one file and one line each; plug-ins come from `tcabench.checks`."""

from tcabench.registry import Registry

CHECKS = Registry(
    "check",
    "tcabench.checks",
    {
        "threshold": "tcabench.policy.checks.threshold:Threshold",
        "min_grade": "tcabench.policy.checks.min_grade:MinGrade",
        "min_window": "tcabench.policy.checks.min_window:MinWindow",
        "complete": "tcabench.policy.checks.complete:Complete",
        "equivalent_levers": "tcabench.policy.checks.equivalent_levers:EquivalentLevers",
        "answers": "tcabench.policy.checks.answers:Answers",
        "scope": "tcabench.policy.checks.scope:Scope",
    },
)
