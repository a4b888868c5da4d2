"""The table that maps errors to fail or info, and the two phases of an invocation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.exceptions as rx

from harness.clients import (
    ConnectFailed,
    DatabaseClient,
    RedisConnection,
    error_code,
    outcome_of,
)
from harness.history import Op
from harness.topology import Shard, Topology


def response(text: str) -> Exception:
    """Return the exception that redis-py makes of an error reply."""
    from redis._parsers.base import BaseParser

    return BaseParser.parse_error(text)


DEFINITE = [
    "MOVED 1 127.0.0.1:1", "ASK 1 127.0.0.1:1", "CLUSTERDOWN down",
    "READONLY You can't write against a read only replica.", "LOADING Redis is loading",
    "MASTERDOWN Link with MASTER is down", "NOREPLICAS Not enough good replicas to write.",
    "CROSSSLOT Keys don't hash", "TRYAGAIN Multiple keys", "OOM command not allowed",
    "MISCONF Redis is configured", "NOSCRIPT No matching script.", "NOAUTH Log in first.",
    "NOPERM no permissions", "BUSY Redis is busy", "WRONGTYPE Operation against a key",
    "ERR wrong number of arguments for 'set' command",
]  # fmt: skip


@pytest.mark.parametrize("text", DEFINITE)
def test_a_definite_error_of_a_command_means_it_did_not_happen(text: str) -> None:
    type, label = outcome_of(response(text), read=False)
    assert type == "fail"
    assert not label.startswith("unclassified")


@pytest.mark.parametrize("text", DEFINITE)
def test_an_error_of_a_script_may_come_after_a_write(text: str) -> None:
    expected = "fail" if text.startswith(("NOSCRIPT", "BUSY")) else "info"
    assert outcome_of(response(text), read=False, form="script")[0] == expected


@pytest.mark.parametrize("text", ["MOVED 1 a:1", "ASK 1 a:1", "EXECABORT Transaction discarded"])
def test_a_refused_transaction_is_fail(text: str) -> None:
    assert outcome_of(response(text), read=False, form="exec")[0] == "fail"


@pytest.mark.parametrize("text", ["OOM no", "READONLY no", "ERR odd"])
def test_other_errors_of_exec_are_indeterminate(text: str) -> None:
    assert outcome_of(response(text), read=False, form="exec")[0] == "info"


@pytest.mark.parametrize(
    "error",
    [TimeoutError(), rx.TimeoutError("x"), rx.ConnectionError("closed"), ConnectionResetError(),
     EOFError(), response("ERR something new"), ValueError("odd")],
)  # fmt: skip
def test_other_errors_are_info_for_writes_and_fail_for_reads(error: Exception) -> None:
    assert outcome_of(error, read=False)[0] == "info"
    assert outcome_of(error, read=True)[0] == "fail"


def test_errors_outside_the_table_are_marked_unclassified() -> None:
    assert outcome_of(response("ERR new"), read=False)[1].startswith("unclassified")
    assert outcome_of(ValueError("x"), read=False)[1].startswith("unclassified")
    assert outcome_of(TimeoutError(), read=False)[1] == "timeout"


def test_error_codes_that_redis_py_strips_are_recovered() -> None:
    assert error_code(response("READONLY You can't write")) == "READONLY"
    assert error_code(response("LOADING Redis is loading")) == "LOADING"
    assert error_code(rx.ConnectionError("closed")) is None


class FakeConnection:
    def __init__(self, router: FakeRouter, node: str) -> None:
        self.router, self.node, self.is_open = router, node, False

    async def open(self) -> None:
        self.router.log.append(f"open {self.node}")
        if self.node in self.router.down:
            raise ConnectFailed("refused")
        self.is_open = True

    async def close(self) -> None:
        self.router.log.append(f"close {self.node}")
        self.is_open = False


class FakeRouter:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.down: set[str] = set()
        self.primary = "n1"

    def topology(self) -> Topology:
        return Topology((Shard(nodes=("n1", "n2"), primary=self.primary),))

    def open_to(self, node: str, client_host: str, *, readonly: bool = False) -> Any:
        return FakeConnection(self, node)


def client(router: FakeRouter, apply, **options) -> DatabaseClient:
    return DatabaseClient(router, "c1", apply, keys_of=lambda op: [f"k{op.value[0]}"],
                          reads=frozenset({"read"}), forms={},
                          timeout_s=options.get("timeout_s", 0.1))  # fmt: skip


def invoke(c: DatabaseClient, f: str = "write", node: str | None = None) -> Op:
    return asyncio.run(c.invoke(Op(0, 0, "invoke", 0, f, [0, 1], node=node)))


async def accept(connection, op: Op) -> Op:
    return op.completed("ok")


def test_a_failure_to_connect_is_fail_even_for_writes() -> None:
    router = FakeRouter()
    router.down.add("n1")
    done = invoke(client(router, accept))
    assert (done.type, done.error) == ("fail", "connect: refused")


def test_an_answer_carries_the_node_that_gave_it() -> None:
    assert invoke(client(FakeRouter(), accept)).node == "n1"
    assert invoke(client(FakeRouter(), accept), "read", "n3").node == "n3"


def test_clients_follow_the_primary_and_disconnect_from_the_old_one() -> None:
    router = FakeRouter()
    c = client(router, accept)
    invoke(c)
    router.primary = "n2"
    assert invoke(c).node == "n2"
    assert router.log == ["open n1", "close n1", "open n2"]


def test_a_time_out_closes_the_connection_and_nothing_is_sent_again() -> None:
    router, sent = FakeRouter(), []

    async def hang(connection, op: Op) -> Op:
        sent.append(op)
        await asyncio.sleep(5)
        return op

    done = invoke(client(router, hang, timeout_s=0.05))
    assert (done.type, done.error, len(sent)) == ("info", "timeout", 1)
    assert router.log == ["open n1", "close n1"]


def test_an_error_reply_keeps_the_connection() -> None:
    async def refuse(connection, op: Op) -> Op:
        raise response("OOM command not allowed")

    router = FakeRouter()
    c = client(router, refuse)
    assert [invoke(c).type, invoke(c).type] == ["fail", "fail"]
    assert router.log == ["open n1"]


def test_a_reply_too_long_for_a_line_is_not_recorded_as_success() -> None:
    async def long(connection, op: Op) -> Op:
        return op.completed("ok", value=[0, list(range(5000))])

    assert invoke(client(FakeRouter(), long), "read").type == "fail"
    assert invoke(client(FakeRouter(), long), "append").type == "info"


def test_a_closed_connection_is_never_reopened_by_an_invocation() -> None:
    async def main() -> None:
        connection = RedisConnection(("127.0.0.1", 1), client_credentials(), 0.1)
        with pytest.raises(rx.ConnectionError, match="connection is closed"):
            await connection.call("PING")

    asyncio.run(main())


def client_credentials():
    from harness.clients import Credentials

    return Credentials()


def test_a_wait_that_fails_after_the_set_is_unknown() -> None:
    from harness.workloads.base import WorkloadOptions
    from harness.workloads.wait import Wait

    class Refuses(FakeConnection):
        async def call(self, *command: Any) -> Any:
            if command[0] == "WAIT":
                raise response("NOPERM this user has no permissions")
            return "OK"

    workload = Wait(WorkloadOptions(nodes=("n1",), concurrency=2))
    op = Op(0, 0, "invoke", 0, "write", [0, 1])
    done = asyncio.run(workload.apply(Refuses(FakeRouter(), "n1"), op))  # type: ignore[arg-type]
    assert done.type == "info"
