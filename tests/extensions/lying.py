"""Targets that lie: models of Redis, each of which breaks one promise in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.environments.protocol import ProcessSpec
from harness.host import Host
from targets.engine.resp import OK, Command
from targets.engine.table import find
from targets.replicated.redis_model.commands import COMMANDS
from targets.replicated.redis_model.node import Node
from targets.replicated.redis_model.replication import ReplicaSession
from targets.replicated.redis_model.target import RedisModel

FALSE_REPLIES: dict[str, Any] = {
    "SET": OK, "SADD": 1, "INCRBY": 1, "RPUSH": 1, "DEL": 1, "BLPOP": None, "EVAL": None,
}  # fmt: skip


class LyingNode(Node):
    """Lies once it has executed `HONEST` commands. `executed`: how many it has."""

    HONEST = 0
    executed = 0

    def execute(self, session: ReplicaSession, commands: Sequence[Command]) -> list[Any]:
        self.executed += 1
        if self.executed <= self.HONEST:
            return super().execute(session, commands)
        return self.lie(session, commands)

    def lie(self, session: ReplicaSession, commands: Sequence[Command]) -> list[Any]:
        return super().execute(session, commands)

    def truth(self, session: ReplicaSession, commands: Sequence[Command]) -> list[Any]:
        return super().execute(session, commands)

    def writes(self, command: Command) -> bool:
        spec = find(self._table, command)
        return spec is not None and (spec.write or spec.name == "EVAL")

    def name_of(self, command: Command) -> str:
        spec = find(self._table, command)
        return "" if spec is None else spec.name


class StoresNothing(LyingNode):
    """Answers writes as if it had stored something."""

    def lie(self, session: ReplicaSession, commands: Sequence[Command]) -> list[Any]:
        return [
            FALSE_REPLIES.get(self.name_of(c), OK)
            if self.writes(c)
            else self.truth(session, [c])[0]
            for c in commands
        ]


class DropsWrites(StoresNothing):
    """Stores nothing after a while."""

    HONEST = 300


class AnswersFromACopy(LyingNode):
    """Answers reads from a copy that it refreshes now and then."""

    def lie(self, session: ReplicaSession, commands: Sequence[Command]) -> list[Any]:
        copies: dict[Command, Any] = self.__dict__.setdefault("_copies", {})
        if self.executed % 150 == 0:
            copies.clear()
        replies = []
        for c in commands:
            if self.writes(c):
                replies += self.truth(session, [c])
            else:
                if c not in copies:
                    copies[c] = self.truth(session, [c])[0]
                replies.append(copies[c])
        return replies


class ExecutesTwice(LyingNode):
    """Executes every twentieth write twice."""

    def lie(self, session: ReplicaSession, commands: Sequence[Command]) -> list[Any]:
        replies = self.truth(session, commands)
        if self.executed % 20 == 0 and all(self.name_of(c) != "BLPOP" for c in commands):
            self.truth(session, [c for c in commands if self.writes(c)])
        return replies


class ForgetsTimesToLive(LyingNode):
    """Stores keys without their times to live."""

    def lie(self, session: ReplicaSession, commands: Sequence[Command]) -> list[Any]:
        replies = self.truth(session, commands)
        for key in list(self.engine.keys):
            if self.engine._state.expires.get(key) is not None:
                self.truth(session, [(b"PERSIST", key)])
        return replies


class ExpiresEarly(LyingNode):
    """Deletes keys that have a time to live when the next command arrives."""

    def lie(self, session: ReplicaSession, commands: Sequence[Command]) -> list[Any]:
        for key in list(self.engine._state.expires)[:1]:
            self.truth(session, [(b"DEL", key)])
        return self.truth(session, commands)


class ReordersQueues(LyingNode):
    """Pushes every tenth element to the wrong end."""

    def lie(self, session: ReplicaSession, commands: Sequence[Command]) -> list[Any]:
        if self.executed % 10 == 0:
            commands = [(b"LPUSH", *c[1:]) if c[0] == b"RPUSH" else c for c in commands]
        return self.truth(session, commands)


class SwapsReplies(LyingNode):
    """Now and then answers a client with the last reply to another one."""

    def lie(self, session: ReplicaSession, commands: Sequence[Command]) -> list[Any]:
        replies = self.truth(session, commands)
        last = self.__dict__.get("_last")
        self._last = (session, replies)
        if last is not None and last[0] is not session and self.executed % 25 == 0:
            return list(last[1])
        return replies


class DivergesAReplica(LyingNode):
    """As a replica it skips every tenth entry that it receives, but counts it."""

    def apply(self, entries: Sequence[Command]) -> None:
        self.executed += 1
        if self.executed % 10 or entries[0][0] in (b"PING", b"REPLCONF"):
            super().apply(entries)
        else:
            self.propagate(entries)


class LosesAReplica(LyingNode):
    """As a replica it loses all keys once, in mid-run."""

    def apply(self, entries: Sequence[Command]) -> None:
        super().apply(entries)
        self.executed += 1
        if self.executed == 300:
            self.engine.clear()


class Lying(RedisModel):
    """A model of Redis whose nodes are of another kind."""

    name = "lying"
    node: type[LyingNode] = LyingNode

    def spec(self, node: str) -> ProcessSpec:
        primary = self.primary_of(node)
        primary = None if primary == node else primary
        settings, kind = self._settings, self.node

        async def main(host: Host) -> None:
            await kind(host, settings, COMMANDS).run(primary)

        return replace(super().spec(node), main=main)


def target(kind: type[LyingNode]) -> type[Lying]:
    return type(
        f"Target{kind.__name__}", (Lying,), {"node": kind, "name": f"lying-{kind.__name__}"}
    )


TargetStoresNothing = target(StoresNothing)
TargetDropsWrites = target(DropsWrites)
TargetAnswersFromACopy = target(AnswersFromACopy)
TargetExecutesTwice = target(ExecutesTwice)
TargetForgetsTimesToLive = target(ForgetsTimesToLive)
TargetExpiresEarly = target(ExpiresEarly)
TargetReordersQueues = target(ReordersQueues)
TargetSwapsReplies = target(SwapsReplies)
TargetDivergesAReplica = target(DivergesAReplica)
TargetLosesAReplica = target(LosesAReplica)
