"""References whose engines lie: their nodes agree on the log, but not on what commands do."""

from __future__ import annotations

from collections.abc import Sequence

from harness.host import Host
from targets.engine.protocol import Context, Engine, Outcome
from targets.engine.python import PythonEngine
from targets.engine.resp import Command
from targets.memorydb_py.processes import Parts
from targets.memorydb_py.target import MemoryDB

HONEST = 200  # commands before the first lie


class LyingEngine(PythonEngine):
    """Counts what it has executed."""

    executed = 0

    def execute(self, command: Command, context: Context) -> Outcome:
        self.executed += 1
        return super().execute(command, context)


class DropsWrites(LyingEngine):
    """Deletes, in memory alone, each tenth key that is written."""

    def execute(self, command: Command, context: Context) -> Outcome:
        outcome = super().execute(command, context)
        if self.executed > HONEST and self.executed % 10 == 0:
            for key in outcome.writes:
                self._values.pop(key, None)
                self._expires.pop(key, None)
        return outcome


class ForgetsTimesToLive(LyingEngine):
    """Removes the deadline of every key that is written."""

    def execute(self, command: Command, context: Context) -> Outcome:
        outcome = super().execute(command, context)
        for key in outcome.writes:
            self._expires.pop(key, None)
        return outcome


class Miscounts(LyingEngine):
    """Adds one to each tenth positive integer that it answers."""

    def execute(self, command: Command, context: Context) -> Outcome:
        outcome = super().execute(command, context)
        lies = self.executed > HONEST and self.executed % 10 == 0
        if lies and type(outcome.reply) is int and outcome.reply > 0:
            outcome.reply += 1
        return outcome


class Diverges(LyingEngine):
    """Appends, on replicas, a digit to each string that is written."""

    def apply(self, effects: Sequence[Sequence[bytes]]) -> Outcome:
        outcome = super().apply(effects)
        for key in outcome.writes:
            value = self._values.get(key)
            if type(value) is bytes and value[:4] != b"HYLL":
                self._values[key] = value + b"1"
        return outcome


def target(kind: type[LyingEngine]) -> type[MemoryDB]:
    """Return the reference with engines of a kind."""

    class Lies(Parts):
        def engine(self, host: Host) -> Engine:
            return kind(sharded=True, clock=host.spent_ns)

    return type(f"Target{kind.__name__}", (MemoryDB,), {"parts": Lies(), "__doc__": kind.__doc__})


TargetDropsWrites = target(DropsWrites)
TargetForgetsTimesToLive = target(ForgetsTimesToLive)
TargetMiscounts = target(Miscounts)
TargetDiverges = target(Diverges)
TargetLyingEngine = target(LyingEngine)
