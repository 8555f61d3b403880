"""`tcabench recover`: seal what a broken run left behind."""

from pathlib import Path
from typing import Annotated

import typer

from tcabench.cli import options as o

Folder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The run folder, e.g. runs/20261123T…")]


def recover(
    folder: Folder, tokenizer: o.TokenizerFile = None, key: o.Key = None, key_passphrase_env: o.KeyPassphraseEnv = None
) -> None:
    """Seal the evidence of a run that broke off. The report says INCOMPLETE everywhere and can pass nothing."""
    from tcabench.cli.show import show_concluded
    from tcabench.evidence import refuse_if_running
    from tcabench.kit import own_signer
    from tcabench.pipeline import conclude

    refuse_if_running(folder)
    show_concluded(conclude(folder, tokenizer, own_signer(key, key_passphrase_env), complete=False))
