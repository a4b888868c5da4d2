"""Administrative commands: CONFIG, INFO, CLIENT, HELP."""

from __future__ import annotations

import asyncio
from typing import Any

from targets.memorydb_py.node.context import Usage
from tests.targets.memorydb_py.shards import CLOSED, LONG, Shards, Talk


async def info(talk: Talk, section: str = "") -> dict[str, str]:
    text = (await talk.ask(f"INFO {section}")).decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


async def config(talk: Talk, pattern: str) -> dict[str, str]:
    flat = [word.decode() for word in await talk.ask(f"CONFIG GET {pattern}")]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def test_config_set_changes_mutable_options() -> None:
    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        assert await config(talk, "max-*") == {
            "max-record-bytes": "33554432", "max-waiting": "100000",
        }  # fmt: skip
        assert await talk.ask("CONFIG SET max-record-bytes 100 max-waiting 7") == b"OK"
        assert await config(talk, "max-*") == {"max-record-bytes": "100", "max-waiting": "7"}
        big = await talk.ask(("SET", "{t}a", b"x" * 200))
        assert "more than max-record-bytes 100" in str(big)
        # Either all options are changed or none.
        reply = await talk.ask("CONFIG SET max-record-bytes 5000 lease-ms 5")
        assert str(reply) == (
            "ERR CONFIG SET failed (possibly related to argument 'lease-ms') - can't set immutable "
            "config"
        )
        assert "whole number" in str(await talk.ask("CONFIG SET max-waiting -1"))
        assert await config(talk, "max-record-bytes") == {"max-record-bytes": "100"}
        # An immutable option may be set to its present value.
        assert await talk.ask("CONFIG SET save", 1) is not None
        assert await talk.ask(("CONFIG", "SET", "save", "", "appendonly", "no")) == b"OK"

    Shards(90).run(scenario)


def test_config_set_requirepass() -> None:
    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        assert await talk.ask(("CONFIG", "SET", "requirepass", b"s\xffcret")) == b"OK"
        assert await talk.ask("SET {t}a 1") == b"OK", "authenticated clients stay so"
        other = await shards.to_primary()
        assert str(await other.ask("GET {t}a")).startswith("NOAUTH")
        assert str(await other.ask("AUTH secret")).startswith("WRONGPASS")
        assert await other.ask(("AUTH", b"s\xffcret")) == b"OK"
        assert await other.ask("GET {t}a") == b"1"
        assert await other.ask(("CONFIG", "SET", "requirepass", "")) == b"OK"
        assert await (await shards.to_primary()).ask("GET {t}a") == b"1"

    Shards(91).run(scenario)


def test_statistics_in_info() -> None:
    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        await talk.ask("CONFIG RESETSTAT")
        await talk.asks("SET {t}a 1", "GET {t}a", "GET {t}b", "MGET {t}a {t}b {t}c", "TYPE {t}a",
                        "SET {t}e 1 PX 30", "NOSUCH", "GET", "LPUSH {t}a x")  # fmt: skip
        listener = await shards.to_primary()
        await listener.asks("HELLO 3", "SUBSCRIBE here")
        await asyncio.sleep(1)
        found = await info(talk)
        wanted = {
            "total_connections_received": "1", "keyspace_hits": "3", "keyspace_misses": "3",
            "expired_keys": "1", "pubsub_channels": "1", "pubsub_clients": "1",
            "total_error_replies": "3", "errorstat_ERR": "count=2",
            "errorstat_WRONGTYPE": "count=1", "connected_clients": "2", "loading": "0",
            "total_commands_processed": "12", "db0": "keys=1,expires=0,avg_ttl=0",
        }  # fmt: skip
        assert {name: found.get(name) for name in wanted} == wanted
        assert int(found["total_net_input_bytes"]) > 200 < int(found["total_net_output_bytes"])
        assert int(found["uptime_in_seconds"]) >= 1
        for _ in range(20):
            await talk.asks(*["PING"] * 10)
            await asyncio.sleep(0.1)
        assert 70 < int((await info(talk, "stats"))["instantaneous_ops_per_sec"]) < 130
        assert await talk.ask("CONFIG RESETSTAT") == b"OK"
        found = await info(talk, "stats")
        assert found["total_commands_processed"] == "1"
        assert "keyspace_hits" not in await info(talk, "memory")

    Shards(92, options=LONG).run(scenario)


def test_usage_of_the_process() -> None:
    from targets.memorydb_py.__main__ import usage

    found = usage()
    assert 10 << 20 < found.memory <= found.memory_peak
    assert found.user_s > 0
    assert Usage().memory == 0


def test_client_list_and_client_kill() -> None:
    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talks = [await shards.connect(primary, f"CLIENT SETNAME c{i}") for i in range(4)]
        ids = [await talk.ask("CLIENT ID") for talk in talks]
        await talks[1].asks("SUBSCRIBE a", "SUBSCRIBE b")

        async def listed(*words: str) -> list[str]:
            text = (await talks[0].ask(("CLIENT", "LIST", *words))).decode()
            return [line.split("name=")[1].split()[0] for line in text.splitlines()]

        assert await listed() == ["c0", "c1", "c2", "c3"]
        assert await listed("TYPE", "pubsub") == ["c1"]
        assert await listed("ID", str(ids[2]), str(ids[3])) == ["c2", "c3"]
        line = (await talks[0].ask("CLIENT INFO")).decode()
        assert " sub=0 psub=0 ssub=0 multi=-1 " in line
        address = (await talks[2].ask("CLIENT INFO")).decode().split("addr=")[1].split()[0]
        assert await talks[0].ask(f"CLIENT KILL ADDR {address}") == 1
        assert await talks[2].reply() is CLOSED
        assert await talks[0].ask("CLIENT KILL TYPE pubsub SKIPME no") == 1
        assert await talks[1].reply() is CLOSED
        assert await talks[0].ask("CLIENT KILL USER default") == 1, "the caller must be skipped"
        assert await talks[3].reply() is CLOSED
        assert await talks[0].ask("CLIENT KILL USER default SKIPME no") == 1
        assert await talks[0].reply() is CLOSED

    Shards(93, nodes=1).run(scenario)


def test_help_lists_every_subcommand() -> None:
    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        entries: Any = await talk.ask("COMMAND")
        containers = {e[0].decode(): [part[0].decode() for part in e[9]] for e in entries if e[9]}
        assert len(containers) == 11
        for name, parts in containers.items():
            lines = [line.decode() for line in await talk.ask(f"{name} HELP")]
            assert lines[0].startswith(f"{name.upper()} <subcommand>")
            for part in parts:
                wanted = part.split("|")[1].upper()
                assert any(line.split(" ")[0] == wanted for line in lines), (name, part)
        assert (
            await talk.ask("COMMAND COUNT") == len(entries) == len(await talk.ask("COMMAND LIST"))
        )

    Shards(94, nodes=1).run(scenario)
