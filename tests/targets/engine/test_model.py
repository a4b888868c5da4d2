"""Commands generated from COMMAND DOCS, and the model that executes them with the engine."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from harness.campaign import execute as execute_run
from harness.checkers.linearizability.checker import check
from harness.errors import UsageError
from harness.history import History, Op
from harness.models.base import INCONSISTENT
from harness.results import plan_run
from harness.spec import Spec
from harness.workloads.command_docs import KINDS, Documented, draw, read_docs
from targets.engine.commands import COMMANDS as TABLE
from targets.engine.model import TIME_MS, CommandModel, reply_of
from targets.engine.resp import to_resp2
from targets.engine.state import State
from targets.engine.version import Version
from targets.memorydb_py.node.commands import command as command_table
from tests.support.engine import execute

NAMES = [f"k{i}" for i in range(len(KINDS))]


def text(reply: Any) -> Any:
    """Return a reply as a client that decodes responses receives it."""
    if isinstance(reply, bytes):
        return reply.decode()
    return [text(each) for each in reply] if isinstance(reply, list) else reply


def documented() -> list[Documented]:
    names = [name for name in TABLE if b"|" not in name]
    docs = text(to_resp2(command_table.documentation(TABLE, names)))
    info = text(to_resp2(command_table.information(TABLE, names)))
    return read_docs(docs, info)


COMMANDS = documented()


def test_every_command_on_keys_is_read_from_the_documentation() -> None:
    read = {"|".join(each.words) for each in COMMANDS}
    missing = {
        name.decode()
        for name, known in TABLE.items()
        if (known.write or "readonly" in known.flags)
        and (known.keys[0] or known.movable)
        and not known.noscript
        and not ("blocking" in known.flags and not name.startswith(b"XREAD"))
        and name.decode() not in read
    }
    assert missing == set()
    assert not {each for each in read if each.startswith("B") and "POP" in each}, "they block"


def test_generated_commands_match_their_documentation_and_keys() -> None:
    rng = random.Random(1)
    model = CommandModel()
    understood = 0
    for _ in range(3000):
        command = rng.choice(COMMANDS)
        words = draw(command, NAMES, rng)
        assert tuple(words[: len(command.words)]) == command.words
        if model.understands(words, NAMES):
            understood += 1
            known = TABLE["|".join(command.words).encode()]
            keys = known.keys_of(tuple(word.encode() for word in words))
            assert keys
            assert {key.decode() for key in keys} <= set(NAMES)
    assert understood > 1500


def understood(model: CommandModel, rng: random.Random) -> list[str]:
    while True:
        words = draw(rng.choice(COMMANDS), NAMES, rng)
        if model.understands(words, NAMES):
            return words


@pytest.mark.parametrize("seed", range(6))
def test_the_model_agrees_with_the_engine(seed: int) -> None:
    """The model accepts the engine's reply to each command and no other."""
    model, rng = CommandModel(), random.Random(seed)
    state, current = State(sharded=True), model.init()
    errors = 0
    for _ in range(1500):
        words = understood(model, rng)
        command = tuple(word.encode() for word in words)
        reply = reply_of(words, to_resp2(execute(state, command, TIME_MS, rng).reply))
        errors += "('error'," in repr(reply)
        after = model.step(current, "write", (tuple(words), reply), True)
        assert after is not INCONSISTENT, (words, reply)
        assert model.step(current, "write", (tuple(words), ("other", reply)), True) is INCONSISTENT
        assert model.step(current, "write", (tuple(words), None), False) == after
        current = after
    assert errors < 900


def history(*steps: tuple[int, str, list[str], Any]) -> History:
    """Return a history of sequential operations."""
    ops: list[Op] = []
    for process, f, words, reply in steps:
        for type, seen in (("invoke", None), ("ok", reply)):
            value = [0, [words, seen]]
            ops.append(Op(index=len(ops), time=len(ops) * 1000, type=type, process=process, f=f,
                          value=value))  # fmt: skip
    return History(ops)


def test_before_7_0_a_score_may_be_minus_zero() -> None:
    for version, seen, right in (((6, 2), "-0", True), ((6, 2), "0", True), ((7, 0), "-0", False)):
        model = CommandModel(Version("redis", version))
        state = model.step(model.init(), "write", (("ZADD", "z", "-0", "a"), 1), True)
        words = ("ZRANGE", "z", "0", "-1", "WITHSCORES")
        after = model.step(state, "read", (words, ("a", seen)), True)
        assert (after is not INCONSISTENT) is right


def test_replies_that_no_order_explains_are_invalid() -> None:
    fine = history(
        (0, "write", ["ZADD", "a", "1", "x"], 1),
        (1, "read", ["ZRANGE", "a", "0", "-1", "WITHSCORES"], ["x", "1"]),
        (0, "write", ["LPUSH", "a", "1"], [["error", "WRONGTYPE"]]),
        (1, "read", ["SMEMBERS", "b"], []),
    )
    assert check(fine, CommandModel(), independent=True).valid is True
    lost = history(
        (0, "write", ["INCRBY", "a", "2"], "2"),
        (1, "write", ["INCRBY", "a", "2"], 2),
    )
    assert check(lost, CommandModel(), independent=True).valid is False
    wrong = history(
        (0, "write", ["INCRBY", "a", "2"], 2),
        (1, "write", ["APPEND", "a", "0"], 2),
        (2, "read", ["GET", "a"], "2"),
    )
    verdict = check(wrong, CommandModel(), independent=True)
    assert verdict.valid is False
    assert "APPEND" in verdict.why


def test_a_server_that_does_not_name_its_commands_is_refused_in_one_line(tmp_path: Path) -> None:
    spec = Spec(target="redis-model", environment="simulated", workload="commands", seed=1)
    with pytest.raises(UsageError, match="needs the command COMMAND"):
        execute_run(spec, plan_run(tmp_path, spec.directory_name))
