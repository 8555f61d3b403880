"""What a buyer asks for, as data, and whether a run meets it.

`judge(policy, values, facts)` gives one `records.Judgement`: PASS, FAIL, INCONCLUSIVE or NOT APPLICABLE for each clause
and overall. A value passes only if its whole interval clears the limit; out of scope is never a pass. `load_policy` and
`parse_policy` are the YAML door; `standing` places a result among dated public ones.
"""

from tcabench.policy.checks import CHECKS
from tcabench.policy.judge import judge
from tcabench.policy.schema import BUILTIN, Policy, load_policy, parse_policy
from tcabench.policy.standing import standing

__all__ = ["BUILTIN", "CHECKS", "Policy", "judge", "load_policy", "parse_policy", "standing"]
