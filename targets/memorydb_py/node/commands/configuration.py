"""CONFIG: the parameters of a node, some of which can be changed at run time."""

from __future__ import annotations

from dataclasses import asdict

from targets.engine.keys import matches
from targets.engine.objects import LISTPACK_BYTES_MAX
from targets.engine.parsing import printable
from targets.engine.resp import OK, BadSyntax, Command, Error, Map
from targets.memorydb_py.node.commands.table import Commands, add_container
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import Node
from targets.memorydb_py.node.settings import Settings
from targets.servers.output_limits import output_limits, shown

COMMANDS: Commands = Commands()

LIMITS = "client-output-buffer-limit"
_FLAGS = "admin noscript loading stale"
# The lease and the backoff are not among them: all nodes of a shard have to agree on them.
CHANGEABLE = ("max-waiting", "max-record-bytes", "requirepass", LIMITS)
# Parameters of Redis that clients and tools query, with the values that hold here.
FIXED = {
    "appendonly": "no", "cluster-enabled": "yes", "databases": "1", "maxmemory": "0",
    "maxmemory-policy": "noeviction", "notify-keyspace-events": "",
    "proto-max-bulk-len": "536870912", "replica-read-only": "yes", "save": "", "timeout": "0",
    "hash-max-listpack-entries": "512", "hash-max-listpack-value": str(LISTPACK_BYTES_MAX),
    "set-max-intset-entries": "512", "zset-max-listpack-entries": "128",
    "zset-max-listpack-value": str(LISTPACK_BYTES_MAX),
}  # fmt: skip

add_container(COMMANDS, "CONFIG")


def _given(settings: Settings) -> dict[str, str]:
    return {name.replace("_", "-"): str(value) for name, value in asdict(settings).items()}


def parameters(node: Node) -> dict[str, str]:
    """Return the values of all parameters, by name."""
    port = node.context.nodes.get(node.host.name, ("", 0))[1]
    return {**FIXED, "port": str(port), **_given(node.settings)}


@COMMANDS.command("CONFIG|GET", -3, _FLAGS)
def _get(node: Node, session: Connection, command: Command) -> None:
    """<pattern> ...: return parameters whose names match, and their values."""
    patterns = [word.lower() for word in command[2:]]
    session.reply(
        Map(
            (name.encode(), value.encode(errors="surrogateescape"))
            for name, value in sorted(parameters(node).items())
            if any(matches(name.encode(), pattern) for pattern in patterns)
        )
    )


@COMMANDS.command("CONFIG|SET", -4, _FLAGS)
def _set(node: Node, session: Connection, command: Command) -> None:
    """<name> <value> ...: change parameters, all or none."""
    if len(command) % 2:
        session.reply(BadSyntax())
        return
    try:
        node.settings = changed(node, command[2:])
    except Error as e:
        session.reply(e)
    else:
        session.reply(OK)


def changed(node: Node, words: Command) -> Settings:
    """Return the settings after CONFIG SET with these names and values. Raises `Error`."""
    now, given = parameters(node), _given(node.settings)
    seen: dict[str, None] = {}
    for word, value in zip(words[::2], words[1::2], strict=True):
        name, text = word.decode("latin-1").lower(), value.decode(errors="surrogateescape")
        if name not in now:
            raise Error(
                f"ERR Unknown option or number of arguments for CONFIG SET - '{printable(word)}'"
            )
        if name in seen:
            raise _failed(name, "duplicate parameter")
        seen[name] = None
        if name not in CHANGEABLE:
            if text != now[name]:
                raise _failed(name, "can't set immutable config")
            continue
        try:
            Settings.parse({name: text})
        except ValueError as e:
            raise _failed(name, str(e)) from e
        # Classes of clients that are not named keep their limits.
        given[name] = text if name != LIMITS else shown(output_limits(text, given[name]))
    return Settings.parse(given)


def _failed(name: str, why: str) -> Error:
    return Error(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")


@COMMANDS.command("CONFIG|RESETSTAT", 2, _FLAGS)
def _resetstat(node: Node, session: Connection, command: Command) -> None:
    """Reset the statistics of INFO."""
    node.statistics.reset()
    session.reply(OK)


@COMMANDS.command("CONFIG|REWRITE", 2, _FLAGS)
def _rewrite(node: Node, session: Connection, command: Command) -> None:
    """Return an error: there is no configuration file."""
    session.reply(Error("ERR The server is running without a config file"))
