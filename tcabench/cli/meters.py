"""`tcabench meters`: what there is to meter with, what a meter says, and its watts as they come."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Find meters, try them out, watch them.")
Names = Annotated[list[str] | None, typer.Argument(help="nvml, rapl, modbus://pdu/1?map=..., as for `run --meter`.")]
SiteFile = Annotated[Path | None, typer.Option(help="Site description whose meters to take.", exists=True)]


AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list")
def list_meters(json: AsJson = False) -> None:
    """Meters by name, whether those of this machine can be read, and the maps for those on the network."""
    from tcabench.cli.meters_view import show_catalogue

    show_catalogue(json)


@app.command()
def probe(
    meters: Names = None,
    site: SiteFile = None,
    seconds: Annotated[float, typer.Option(help="How long to read.", min=0.2, max=600)] = 3.0,
    json: AsJson = False,
) -> None:
    """Open meters, read them for a while, and say what they read, how well, and the grade that would earn."""
    from tcabench.cli.meters_view import show_probe

    show_probe(_names(meters, site), seconds, json)


@app.command()
def watch(
    meters: Names = None,
    site: SiteFile = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so long; else on Ctrl-C.", min=0.2)] = None,
) -> None:
    """Watts of each meter as they come."""
    from tcabench.cli.meters_view import show_watch

    show_watch(_names(meters, site), seconds)


def _names(meters: list[str] | None, site: Path | None) -> tuple[str, ...]:
    """The meters named, and those of the site; `auto` where neither is given."""
    if site is None:
        return tuple(meters or ("auto",))
    from tcabench.site import load_site

    return (*(meters or ()), *load_site(site).meter_names())
