"""`tcabench verify`: the seven steps, offline."""

import json
from pathlib import Path
from typing import Annotated

import typer

Report = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A report.html, or a .tcab bundle.")]
PolicyOption = Annotated[
    str | None, typer.Option("--policy", help="Judge by YOUR policy (name or file), not the bundle's.")
]
TrustOption = Annotated[
    list[Path] | None, typer.Option("--trust", exists=True, help="trust.json with the keys you accept; repeatable.")
]


def verify(
    report: Report,
    policy: PolicyOption = None,
    trust: TrustOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the steps as JSON.")] = False,
) -> None:
    """Verify a report offline, down to the raw samples: seven steps, each OK, FAIL or NOT CHECKED."""
    from tcabench.cli.again import page_again
    from tcabench.cli.show import show_verification
    from tcabench.policy import load_policy
    from tcabench.verify import Standing, load_trust, verification_document
    from tcabench.verify import verify as check

    found = check(report, load_trust(trust or []), load_policy(policy) if policy else None)
    if as_json:
        typer.echo(json.dumps(verification_document(found), indent=2))
    else:
        is_sound = found.verdict is Standing.VALID and report.suffix != ".tcab"
        show_verification(found, page_again(report, found) if is_sound else "")
    raise typer.Exit(found.exit_code)
