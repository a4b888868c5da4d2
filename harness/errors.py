"""The exceptions of the harness.

    HarnessError            anything that is reported to the user in one line
    ├── UsageError          the user's mistake: exit code 254
    ├── HistoryError        a history that can't be written or read
    └── EnvironmentFailed   a server or the proxy did not do what the run needs: exit code 255
        └── Unreachable     the system could not be reached or started: exit code 253

What the system under test does wrong is never an exception: it is a verdict.
"""

from __future__ import annotations


class HarnessError(Exception):
    """Base of every error that reaches the user as one line, without a traceback."""


class UsageError(HarnessError):
    """The request can't be served as given; the message says what to write instead."""


class HistoryError(HarnessError):
    """A history file can't be written, or is not a history."""


class EnvironmentFailed(HarnessError):
    """A process of the run could not be started, reached or controlled."""


class Unreachable(EnvironmentFailed):
    """The system under test could not be reached, or could not be started."""
