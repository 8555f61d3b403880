"""Every error a caller may catch, and the exit code each one ends in.

TcaError
├── UsageError          2  the command, plan, policy or file given cannot be used as it is
│   └── PluginError     2  a named meter, workload, metric, check, API or signer is not there
├── NotMeasured         4  the run could not be made, or not to its end
│   ├── EndpointError   4  the server is out of reach, refuses the key or does not have the model
│   ├── MeterError      4  a meter that was asked for cannot be read
│   ├── EvidenceError   4  the evidence could not be written (disk full, permissions)
│   └── Interrupted   130  the user stopped the run (128 + SIGINT, as shells report it)
└── NotVerified         5  the evidence does not hold

Exit codes 3 (fail or regressed) and 6 (inconclusive, not applicable) are verdicts, not errors; 1 is a bug of ours.
"""

from typing import ClassVar


class TcaError(Exception):
    """The root. `kind` is a stable name that scripts may match; it is printed as `error[kind]`."""

    exit_code: ClassVar[int]

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class UsageError(TcaError):
    exit_code = 2

    def __init__(self, message: str, kind: str = "usage") -> None:
        super().__init__(message, kind)


class PluginError(UsageError):
    def __init__(self, message: str, kind: str = "plugin") -> None:
        super().__init__(message, kind)


class NotMeasured(TcaError):
    exit_code = 4

    def __init__(self, message: str, kind: str = "not-measured") -> None:
        super().__init__(message, kind)


class EndpointError(NotMeasured):
    def __init__(self, message: str, kind: str = "endpoint") -> None:
        super().__init__(message, kind)


class MeterError(NotMeasured):
    def __init__(self, message: str, kind: str = "meter") -> None:
        super().__init__(message, kind)


class EvidenceError(NotMeasured):
    def __init__(self, message: str, kind: str = "evidence") -> None:
        super().__init__(message, kind)


class Interrupted(NotMeasured):
    exit_code = 130

    def __init__(self, message: str, kind: str = "interrupted") -> None:
        super().__init__(message, kind)


class NotVerified(TcaError):
    exit_code = 5

    def __init__(self, message: str, kind: str = "not-verified") -> None:
        super().__init__(message, kind)
