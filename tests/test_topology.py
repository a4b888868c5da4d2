"""Shards, slots and roles, and the routing of clients by keys."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from harness.clients import DatabaseClient
from harness.history import Op
from harness.topology import SLOTS, Shard, Topology, slot_of

HALF = SLOTS // 2
ONE = Topology((Shard(nodes=("n1", "n2"), primary="n1"),))
TWO = Topology(
    (
        Shard(name="s1", slots=((0, HALF - 1),), nodes=("n1", "n2"), primary="n1"),
        Shard(name="s2", slots=((HALF, SLOTS - 1),), nodes=("n3", "n4"), primary=None),
    )
)


def key_of(shard: str, number: int = 0) -> str:
    """Return a key whose slot is in a shard of `TWO`."""
    found = TWO.shard_named(shard)
    assert found is not None
    keys = (f"k{number}.{i}" for i in range(1000))
    return next(key for key in keys if found.serves(slot_of(key)))


def test_slots_are_those_of_redis_cluster() -> None:
    assert slot_of("123456789") == 0x31C3
    assert slot_of("{user1000}.following") == slot_of("{user1000}.followers")
    assert slot_of("foo{}{bar}") != slot_of("bar")


def test_a_target_of_one_shard_has_every_key() -> None:
    assert ONE.of_keys(["a", "b", "c"]) is ONE.shards[0]
    assert ONE.of_keys([]) is ONE.shards[0]
    assert ONE.is_primary("n1")
    assert not ONE.is_primary("n2")


def test_keys_of_several_shards_have_no_common_shard() -> None:
    assert TWO.of_keys([key_of("s1"), key_of("s1", 1)]) is TWO.shards[0]
    assert TWO.of_keys([key_of("s2")]) is TWO.shards[1]
    assert TWO.of_keys([key_of("s1"), key_of("s2")]) is None
    assert TWO.of_keys([]) is None


def test_an_assumed_primary_is_that_of_its_shard() -> None:
    assert TWO.primaries == ["n1"]
    assert TWO.with_primary("n4").primaries == ["n1", "n4"]
    assert TWO.with_primary("n2").primaries == ["n2", "n3"]
    assert TWO.with_primary("n2").shards[0].replicas == ["n1"]


class Connection:
    is_open = True

    async def open(self) -> None: ...

    async def close(self) -> None:
        self.is_open = False


class Router:
    def __init__(self, topology: Topology) -> None:
        self.now = topology
        self.opened: list[tuple[str, bool]] = []

    def topology(self) -> Topology:
        return self.now

    def open_to(self, node: str, client_host: str, *, readonly: bool = False) -> Any:
        self.opened.append((node, readonly))
        return Connection()


def invoke(client: DatabaseClient, key: str, node: str | None = None) -> Op:
    return asyncio.run(client.invoke(Op(0, 0, "invoke", 0, "write", [key, 1], node=node)))


def client_of(router: Router) -> DatabaseClient:
    async def accept(connection: Any, op: Op) -> Op:
        return op.completed("ok")

    return DatabaseClient(
        router, "c1", accept, keys_of=lambda op: [op.value[0]], reads=frozenset(), forms={},
        timeout_s=1.0,
    )  # fmt: skip


def test_an_operation_goes_to_the_primary_of_its_shard() -> None:
    router = Router(TWO.with_primary("n4"))
    client = client_of(router)
    assert invoke(client, key_of("s1")).node == "n1"
    assert invoke(client, key_of("s2")).node == "n4"
    assert invoke(client, key_of("s1", 1)).node == "n1"
    assert router.opened == [("n1", False), ("n4", False)], "one connection to each"


def test_without_a_primary_a_client_uses_the_last_one_that_it_knew() -> None:
    router = Router(TWO)
    client = client_of(router)
    done = invoke(client, key_of("s2"))
    assert (done.type, done.error) == ("fail", "connect: no node claims to be the primary")
    router.now = TWO.with_primary("n3")
    assert invoke(client, key_of("s2")).node == "n3"
    router.now = TWO
    assert invoke(client, key_of("s2")).node == "n3"


@pytest.mark.parametrize(
    ("node", "type", "error"),
    [("n4", "ok", None),
     ("n1", "fail", "connect: n1 is not a node of s2, which has the keys")],
)  # fmt: skip
def test_an_operation_for_a_node_needs_one_of_the_shard(
    node: str, type: str, error: str | None
) -> None:
    done = invoke(client_of(Router(TWO)), key_of("s2"), node)
    assert (done.type, done.error) == (type, error)
