"""Locks that expire: their fencing tokens, and that one owner holds them at a time."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

from harness.checkers.claims.expiry import ClockErrors, check_expiring, deadline_of
from harness.checkers.claims.findings import Findings, answered_by, at_node, ended, seconds
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.operations import Pair
from harness.history.recorded import Recorded
from harness.models.lease import Lease

NOT_GREATER = "tokens are not greater than one that was granted before"
TWICE = "tokens were granted twice"
FORGOTTEN = "locks have a smaller last token than one that was granted"
HELD = "locks were granted while another owner's lease lasted"


class Grant(NamedTuple):
    """An acquired lock. `call`, `ret`: positions in the history."""

    call: int
    ret: int
    token: int
    owner: int
    pair: Pair

    def words(self) -> str:
        return f"{self.token} of owner {self.owner}{answered_by(self.pair)} at {ended(self.pair)}"

    def row(self) -> tuple[Pair, str]:
        return self.pair, f"acquire by owner {self.owner}: granted, token {self.token}"


def grants_of(recorded: Recorded) -> dict[Hashable, list[Grant]]:
    """Return the acknowledged grants of each lock, in order of invocation."""
    grants: dict[Hashable, list[Grant]] = {}
    for p in recorded.primary_pairs:
        if p.invoke.f == "acquire" and p.type == "ok" and p.done is not None:
            lock, (owner, token) = p.done.value
            if token is not None:
                grants.setdefault(lock, []).append(
                    Grant(p.invoke.index, p.done.index, token, owner, p)
                )
    return grants


class FencingTokens:
    """Checks tokens of `acquire` of (owner, token or None), and of `read` of the last token.

    A grant that returned before another was invoked has the smaller token; no token is granted
    twice; no grant has a larger token than the final read.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        final = recorded.final_values
        findings = Findings(recorded)
        grants = grants_of(recorded)
        for lock, of_lock in grants.items():
            self._check_order(lock, of_lock, findings)
            highest = max(of_lock, key=lambda g: g.token)
            if final is not None and lock in final and final[lock] < highest.token:
                findings.add(
                    FORGOTTEN,
                    f"lock {lock}: the last token is {final[lock]}, after {highest.words()}",
                    [highest.row()],
                )
        count = sum(map(len, grants.values()))
        evidence: dict[str, Any] = {"grants": count}
        if findings:
            return findings.verdict(evidence, f"of {count} grants: ")
        if final is None:
            return Verdict(valid=UNKNOWN, why="the final reads did not happen", evidence=evidence)
        if not any(len(of_lock) > 1 for of_lock in grants.values()):
            why = "no lock was granted twice"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        if any(lock not in final for lock in grants):
            return Verdict(valid=UNKNOWN, why="a lock was not read at the end", evidence=evidence)
        return Verdict(valid=True, why=f"the tokens of {count} grants increase", evidence=evidence)

    @staticmethod
    def _check_order(lock: Hashable, grants: list[Grant], findings: Findings) -> None:
        by_ret = sorted(grants, key=lambda g: g.ret)
        before: Grant | None = None  # with the highest token, of those that returned before
        i = 0
        tokens: dict[int, Grant] = {}
        for grant in sorted(grants, key=lambda g: g.call):
            while i < len(by_ret) and by_ret[i].ret < grant.call:
                if before is None or by_ret[i].token > before.token:
                    before = by_ret[i]
                i += 1
            if before is not None and before.token >= grant.token:
                findings.add(
                    NOT_GREATER,
                    f"lock {lock}: token {grant.words()} is not greater than token "
                    f"{before.words()}",
                    [before.row(), grant.row()],
                )
            elif grant.token in tokens:
                other = tokens[grant.token]
                findings.add(
                    TWICE,
                    f"lock {lock}: token {grant.words()} was granted to owner {other.owner}, too",
                    [other.row(), grant.row()],
                )
            tokens.setdefault(grant.token, grant)


class Exclusion:
    """The claim that a lock is granted to nobody else before the earliest end of a lease, unless a
    release of it was called. The earliest end: the call of the acquire, plus the lease, less the
    clock error."""

    def __init__(self, lease_ms: int) -> None:
        self._lease_ms = lease_ms

    def check(self, recorded: Recorded, /) -> Verdict:
        findings = Findings(recorded)
        clocks = ClockErrors(recorded)
        released: dict[tuple[Hashable, int], Pair] = {}
        for p in recorded.primary_pairs:
            if p.invoke.f == "release" and p.type != "fail":
                lock, owner = p.invoke.value
                released.setdefault((lock, owner), p)
        compared = 0
        grants = grants_of(recorded)
        for lock, of_lock in grants.items():
            ends = [deadline_of(g.pair, self._lease_ms, clocks).earliest for g in of_lock]

            def lasted(i: int, other: Grant) -> bool:
                """Whether the lease of grant i certainly lasted when the other one was granted."""
                release = released.get((lock, of_lock[i].owner))  # noqa: B023
                over = release is not None and release.invoke.index < other.ret
                done = other.pair.done
                return not over and done is not None and done.time < ends[i]  # noqa: B023

            for i, first in enumerate(of_lock):
                for j in range(i + 1, len(of_lock)):
                    second = of_lock[j]
                    if second.pair.invoke.time >= ends[i]:
                        break
                    compared += 1
                    concurrent = second.call < first.ret
                    if lasted(i, second) and (not concurrent or lasted(j, first)):
                        findings.add(
                            HELD,
                            f"lock {lock}: owner {second.owner} got it{at_node(second.pair)} "
                            f"at {ended(second.pair)}, although owner {first.owner} had acquired "
                            f"it from {seconds(first.pair.invoke.time)} to {ended(first.pair)}"
                            f"{answered_by(first.pair)}, with a lease of {self._lease_ms} ms, and "
                            "had not released it",
                            [first.row(), second.row()],
                        )
                        break
        count = sum(map(len, grants.values()))
        evidence: dict[str, Any] = {"grants": count, "compared": compared}
        if findings:
            return findings.verdict(evidence, f"of {count} grants: ")
        certain = any(
            deadline_of(g.pair, self._lease_ms, clocks).earliest > g.pair.invoke.time
            for of_lock in grants.values()
            for g in of_lock
        )
        if not any(len(of_lock) > 1 for of_lock in grants.values()) or not certain:
            why = "no lock was granted twice" if certain else (
                "clocks may err by more than a lease lasts"
            )  # fmt: skip
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        return Verdict(
            valid=True,
            evidence=evidence,
            why=f"none of {count} grants was made while another owner's lease lasted",
        )


class LinearizableLeases:
    """The claim that acquires, releases, reads and expiries of each lock are linearizable."""

    def __init__(self, lease_ms: int) -> None:
        self._lease_ms = lease_ms

    def check(self, recorded: Recorded, /) -> Verdict:
        def lease(p: Pair) -> Iterator[tuple[Any, int]]:
            if p.invoke.f == "acquire":
                owner, token = p.value[1]
                if token is not None or p.type == "info":
                    yield [owner, token], self._lease_ms

        return check_expiring(recorded, Lease(), lease)
