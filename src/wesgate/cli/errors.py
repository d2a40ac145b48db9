"""What can go wrong for a person at the command line, each with its exit code.

| code | means                                                        |
| ---- | ------------------------------------------------------------ |
| 0    | done; what was waited for ended COMPLETE                     |
| 1    | the run or task did not end COMPLETE, or (dry run) would not |
| 2    | the command cannot be carried out as it was written          |
| 3    | the server could not be reached, or refused                  |
| 130  | stopped by Ctrl-C; the run or task goes on                   |
"""

from __future__ import annotations


class CliError(Exception):
    """Ends the command with one line and an exit code."""

    code = 1


class UsageProblem(CliError):
    """The command cannot be carried out as it was written."""

    code = 2


class NoSuchRun(UsageProblem):
    """The server knows no such run or task."""


class ServerProblem(CliError):
    """The server could not be reached, or refused. `transient` says that asking again may help, `unreached` that
    nothing of the question can have come through."""

    code = 3

    def __init__(self, message: str, *, status: int = 0, transient: bool = False, unreached: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.transient = transient
        self.unreached = unreached
