"""Locks: the order of fencing tokens."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.recorded import Recorded


class Grant(NamedTuple):
    """An acquired lock. `call`, `ret`: positions in the history. `time`: of the return, in ns."""

    call: int
    ret: int
    token: int
    owner: int
    time: int


class FencingTokens:
    """Checks tokens of `acquire` of (owner, token or None), and of `read` of the last token.

    A grant that returned before another was invoked has the smaller token; no token is granted
    twice; no grant has a larger token than the final read.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        final = recorded.final_values
        if final is None:
            return Verdict(valid=UNKNOWN, why="the final reads did not happen")
        grants: dict[Hashable, list[Grant]] = {}
        for p in recorded.pairs:
            if p.invoke.f == "acquire" and p.type == "ok" and p.done is not None:
                lock, (owner, token) = p.done.value
                if token is not None:
                    grants.setdefault(lock, []).append(
                        Grant(p.invoke.index, p.done.index, token, owner, p.done.time)
                    )
        wrong: list[dict[str, Any]] = []
        for lock, of_lock in grants.items():
            wrong += self._wrong(lock, of_lock)
            highest = max(g.token for g in of_lock)
            if lock in final and final[lock] < highest:
                wrong.append({"lock": lock, "what": "forgotten", "token": highest,
                              "last": final[lock]})  # fmt: skip
        count = sum(map(len, grants.values()))
        evidence = {"grants": count, "wrong": len(wrong), "examples": wrong[:20]}
        if wrong:
            first = wrong[0]
            why = (
                f"of {count} grants {len(wrong)} have a wrong token: lock {first['lock']}: {first}"
            )
            return Verdict(valid=False, why=why, evidence=evidence)
        if not count:
            return Verdict(valid=UNKNOWN, why="no lock was granted", evidence=evidence)
        if any(lock not in final for lock in grants):
            return Verdict(valid=UNKNOWN, why="a lock was not read at the end", evidence=evidence)
        return Verdict(valid=True, why=f"the tokens of {count} grants increase", evidence=evidence)

    @staticmethod
    def _wrong(lock: Hashable, grants: list[Grant]) -> list[dict[str, Any]]:
        wrong: list[dict[str, Any]] = []
        by_call = sorted(grants)
        by_ret = sorted(grants, key=lambda g: g.ret)
        before: Grant | None = None  # with the highest token, of those that returned before
        i = 0
        owners: dict[int, int] = {}
        for grant in by_call:
            while i < len(by_ret) and by_ret[i].ret < grant.call:
                if before is None or by_ret[i].token > before.token:
                    before = by_ret[i]
                i += 1
            if before is not None and before.token >= grant.token:
                wrong.append({"lock": lock, "what": "not greater", "token": grant.token,
                              "owner": grant.owner, "before": before.token,
                              "time": grant.time})  # fmt: skip
            elif grant.token in owners:
                wrong.append({"lock": lock, "what": "given twice", "token": grant.token,
                              "owner": grant.owner, "other": owners[grant.token],
                              "time": grant.time})  # fmt: skip
            owners.setdefault(grant.token, grant.owner)
        return wrong
