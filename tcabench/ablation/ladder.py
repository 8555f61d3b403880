"""What is switched off at each rung. Names are those of the engine's `--without`."""

from dataclasses import dataclass

LEVERS = ("skipping", "fusion", "packing", "zeros", "batching", "paging", "prefix", "certified-head", "speculation")


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to run the engine: `name` as it is shown, and the levers that are off."""

    name: str
    without: tuple[str, ...]

    def options(self) -> tuple[str, ...]:
        """The engine's options for it."""
        return tuple(word for lever in self.without for word in ("--without", lever))


def ladder() -> tuple[Rung, ...]:
    """From everything off to everything on, one lever more at each rung, in an order in which each finds what it needs
    already there."""
    rungs = [Rung("everything off", LEVERS)]
    for place, lever in enumerate(LEVERS, 1):
        rungs.append(Rung(f"+ {lever}", LEVERS[place:]))
    return tuple(rungs)


def leave_one_out() -> tuple[Rung, ...]:
    """Everything on, then everything but one lever."""
    return (Rung("everything on", ()), *(Rung(f"- {lever}", (lever,)) for lever in LEVERS))
