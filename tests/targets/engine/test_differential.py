"""Every command of the table, with valid and invalid arguments, compared with a live Redis 7.0.

`python -m pytest -m soak tests/targets/engine/test_differential.py` runs 200,000 commands
(`HARNESS_COMMANDS`), each command of the table at least 100 times with success and 100 times with
an error, and prints the counts.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.command_shapes import KEYS, LEFT_OUT, SHAPES, Shapes
from tests.support.live import redis_server
from tests.targets.engine.test_engine_beside_redis import Comparison

pytestmark = pytest.mark.real

COMMANDS = int(os.environ.get("HARNESS_COMMANDS", "200000"))
A_STATE = 4000  # commands on one server, before a new one is started
LEAST = 100
# Commands for which no arguments are invalid.
NEVER_WRONG: set[str] = {"ECHO"} & set(SHAPES)
SCRIPTS = ("return redis.call('GET', KEYS[1])", "return {ARGV[1], #KEYS}",
           "return redis.call('RPUSH', KEYS[1], ARGV[1])")  # fmt: skip
# Replies that depend on randomness or on a value's encoding: only type and length are compared.
ROUGHLY = {
    "SPOP": "set ?small", "SRANDMEMBER": "set ?small", "HRANDFIELD": "hash ?small ?WITHVALUES",
    "ZRANDMEMBER": "zset ?small ?WITHSCORES", "RANDOMKEY": "", "TIME": "", "DUMP": "any",
    "OBJECT|ENCODING": "any", "MEMORY|USAGE": "any",
}  # fmt: skip
HELP = {name for name in LEFT_OUT if name.endswith("|HELP")}
EXACTLY = LEFT_OUT - set(ROUGHLY) - HELP


class Wider(Shapes):
    """Generates every command of the table. `dumped` returns a payload of DUMP, for RESTORE."""

    def __init__(
        self, rng: random.Random, now_ms: Callable[[], int], dumped: Callable[[], bytes]
    ) -> None:
        super().__init__(rng, now_ms)
        self._dumped = dumped
        self._known: list[str] = ["0" * 40]

    def loaded(self, sha: str) -> None:
        self._known.append(sha)

    def right(self, name: str) -> list[str | bytes]:
        """Return a command whose arguments are likely to be valid."""
        rng = self._rng
        if name in SHAPES:
            return list(self.draw_of(name))
        if name in ROUGHLY:
            shapes = ROUGHLY[name].split()
            words = [word for shape in shapes for word in self._argument(shape)]
            return [*name.split("|"), *words]
        match name:
            case "EVAL" | "EVAL_RO":
                keys = [self._key("string")][: rng.randrange(2)]
                return [name, rng.choice(SCRIPTS), str(len(keys)), *keys, *self._m()]
            case "EVALSHA" | "EVALSHA_RO":
                return [name, rng.choice(self._known), "1", self._key("string"), *self._m()]
            case "RESTORE":
                more = ["REPLACE"][: rng.randrange(2)] + ["ABSTTL"][: rng.randrange(2)]
                return [name, self._any()[0], rng.choice(["0", "0", "100000"]), self._dumped(),
                        *more]  # fmt: skip
            case "SCRIPT|LOAD":
                return ["SCRIPT", "LOAD", rng.choice(SCRIPTS)]
            case "SCRIPT|EXISTS":
                return ["SCRIPT", "EXISTS", rng.choice(self._known)]
        return [*name.split("|")]

    def wrong(self, name: str) -> list[str | bytes]:
        """Return such a command with one or two arguments added, removed or replaced."""
        rng, least = self._rng, 1 + name.count("|")
        words = self.right(name)
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(least, len(words)) if len(words) > least else None
            how = rng.randrange(4)
            if how == 0 or at is None:
                words.insert(rng.randint(least, len(words)), rng.choice(["x", "", "-1", "9" * 20]))
            elif how == 1:
                del words[at]
            elif how == 2:
                del words[at:]
            else:
                words[at] = rng.choice(["x", "", "-1", "1.5", "nan", "9" * 20, "(", "-"])
        return words


def kind_and_length(reply: bytes) -> bytes:
    """Return the type and length of a reply that depends on randomness; errors are returned
    whole."""
    line = reply.partition(b"\r\n")[0]
    if line[:1] == b"-" or line in (b"$-1", b"*-1", b"_"):
        return line
    return line if line[:1] in b"*%~" else line[:1]


def compare(port: int, seed: int, count: int, right: Counter[str], wrong: Counter[str]) -> None:
    both = Comparison(port, seed)
    rng = random.Random(f"{seed}/wider")
    names = sorted({*SHAPES, *LEFT_OUT} - HELP)

    def dumped() -> bytes:
        keys = list(both.state.values)
        raw = both.redis.call("DUMP", rng.choice(keys)) if keys else b"$-1\r\n"
        return b"x" if raw.startswith(b"$-1") else raw.partition(b"\r\n")[2][:-2]

    shapes = Wider(rng, both.now_ms, dumped)
    for _ in range(count):
        breaks = rng.random() < 0.4
        counts = wrong if breaks else right
        name = min(rng.sample(names, 4), key=lambda n: counts[n])
        if name.startswith("FLUSH") and not breaks and rng.random() < 0.95:
            continue  # otherwise the data set would stay small
        command = shapes.wrong(name) if breaks else shapes.right(name)
        if "group" in SHAPES.get(name, "") and rng.random() < 0.5:
            for key in [k for k in KEYS["stream"] if k in command]:  # otherwise groups are rare
                both.step(["XGROUP", "CREATE", key, "g", "0", "MKSTREAM"])
        reply = step(both, name, command)
        (wrong if reply[:1] == b"-" else right)[name] += 1
        if name == "SCRIPT|LOAD" and reply[:1] == b"$":
            shapes.loaded(reply.split(b"\r\n")[1].decode())
    both.end()


def step(both: Comparison, name: str, command: Sequence[str | bytes]) -> bytes:
    if name not in ROUGHLY:
        return both.step(command)
    reply, got, effects, ours = both.run(command)
    assert kind_and_length(reply) == kind_and_length(got), (command, reply, got)
    assert len(effects) == len(ours), (command, effects, ours)
    if name == "SPOP" and reply[:1] != b"-":
        both.step(["DEL", command[1]])  # the two may have removed different members
    return reply


def test_a_sample_of_every_command(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--repl-diskless-sync", "no") as port:
        right, wrong = Counter[str](), Counter[str]()
        compare(port, 1, 6000, right, wrong)
    every = {*SHAPES, *LEFT_OUT} - HELP
    assert {n for n in every if right[n] == 0} <= {"SCRIPT|KILL"}
    assert {n for n in every if wrong[n] == 0} <= NEVER_WRONG


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_command_a_hundred_times(tmp_path: Path) -> None:
    right, wrong = Counter[str](), Counter[str]()
    for seed in range(100, 100 + max(1, COMMANDS // A_STATE)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with redis_server(folder, "--repl-diskless-sync", "no") as port:
            compare(port, seed, A_STATE, right, wrong)
    every = sorted({*SHAPES, *LEFT_OUT} - HELP)
    print(f"\n{right.total() + wrong.total()} commands; right and wrong:")
    print(", ".join(f"{name} {right[name]} {wrong[name]}" for name in every))
    assert {n for n in every if right[n] < LEAST} <= {"SCRIPT|KILL"}
    assert {n for n in every if wrong[n] < LEAST} <= NEVER_WRONG
