"""Vanilla Redis and Valkey: primaries with replicas, without Sentinel or Cluster."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from harness.binaries import find_server, version_of
from harness.environments.protocol import Environment, ProcessSpec
from harness.errors import UsageError
from harness.targets import TargetInfo, TargetOptions
from targets.replicated.operator import OperatorFailover

# Defaults that suit runs of seconds: short delays in replication, no snapshots, no AOF.
SHORT_RUNS = {
    "save": "",
    "appendonly": "no",
    "protected-mode": "no",
    "daemonize": "no",
    "repl-diskless-sync": "yes",
    "repl-diskless-sync-delay": "0",
    "repl-ping-replica-period": "1",
    "repl-backlog-size": "16mb",
    "min-replicas-max-lag": "2",
}
HOSTS_CLOCK_ERROR_MS = 1000  # of servers on hosts whose clocks nobody has checked
OURS = frozenset(
    {
        "port",
        "bind",
        "dir",
        "daemonize",
        "logfile",
        "replicaof",
        "slaveof",
        "replica-announce-ip",
        "replica-announce-port",
        "requirepass",
        "masterauth",
        "unixsocket",
    }
)


class Vanilla(OperatorFailover):
    """A server binary, started with settings for runs of seconds."""

    name = "redis"
    kind = "redis"
    settings: Mapping[str, str] = {
        "NAME": "any option of redis.conf, with its value; the harness sets addresses, folders and "
        "passwords itself",
    }
    alarms = (
        "BUG REPORT START",
        "crashed by signal",
        "ASSERTION FAILED",
        "Out Of Memory allocating",
    )

    # Of RDB and AOF files. A file that ends too early is none: a killed server leaves such files.
    damage = (
        "Bad file format reading the append only file",
        "Wrong RDB checksum",
        "RDB CRC error",
        "Corrupt payload",
    )

    def __init__(self, env: Environment, options: TargetOptions) -> None:
        super().__init__(env, options)
        if env.simulated:
            raise UsageError(
                f"target {self.name} runs a server's binary, which can't be simulated: "
                "give --target redis-model, or --env local"
            )
        self.binary: Path | None = None
        taken = sorted(OURS & set(options.options))
        if taken:
            raise UsageError(f"--option {taken[0]}: the harness sets this option itself")
        self._given: dict[str, list[str]] = {}
        for name, value in options.options.items():
            try:
                self._given[name] = shlex.split(value) or [""]
            except ValueError as e:
                raise UsageError(f"--option {name}={value}: {e}") from e
        if self.starter is not None:
            self.binary = find_server(self.kind, options.binary)
            self.version = version_of(self.binary)
        elif options.options or options.binary:
            raise UsageError("--option and --binary are for servers that the harness starts")
        else:
            self.clock_error_ms = HOSTS_CLOCK_ERROR_MS

    def spec(self, node: str) -> ProcessSpec:
        """Return how to start a node now: as its shard's primary, or as a replica of that."""
        assert self.starter is not None
        host, port = self.env.control_address(node)
        settings: dict[str, list[str]] = {
            **{name: [value] for name, value in SHORT_RUNS.items()},
            **self._given,
            "bind": [host],
            "port": [str(port)],
            "dir": [self.starter.data_dir(node)],
            "replica-announce-ip": [host],
            "replica-announce-port": [str(port)],
        }
        primary = self.primary_of(node)
        if primary is not None and primary != node:
            address = self.env.address(primary, seen_from=node)
            settings["replicaof"] = [str(part) for part in address]
        argv = [str(self.binary), *self._secrets(node)]
        for name, words in settings.items():
            argv += [f"--{name}", *words]
        return ProcessSpec(name=node, node=node, argv=argv)

    def _secrets(self, node: str) -> list[str]:
        """Return the file with a node's password, if there is one: every user of the machine sees
        arguments."""
        password = self.options.credentials.password
        if not password:
            return []
        assert self.starter is not None
        file = Path(self.starter.data_dir(node)) / "password.conf"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        quoted = "".join(f"\\x{byte:02x}" for byte in password.encode(errors="surrogateescape"))
        file.write_text(f'requirepass "{quoted}"\nmasterauth "{quoted}"\n')
        return [str(file)]

    @property
    def volatile(self) -> str | None:
        """Why a server that ends loses its data, and what to give instead; None if it does not."""
        settings = {name: [value] for name, value in SHORT_RUNS.items()} | self._given
        if self.starter is None or settings["appendonly"] != ["no"] or settings["save"] != [""]:
            return None
        return (
            f'{self.name} runs without persistence (save "", appendonly no), so a node that is '
            "killed comes back empty: give --option appendonly=yes --option appendfsync=always to "
            "test what it keeps"
        )

    def describe(self) -> TargetInfo:
        return TargetInfo(
            target=self.name,
            version=self.version,
            binary=self.binary.name if self.binary else None,
            options=dict(self.options.options),
            clock_error_ms=self.clock_error_ms
            if self.starter is not None
            else HOSTS_CLOCK_ERROR_MS,
        )


class Redis(Vanilla):
    """A `redis-server`, or any server that takes its options."""


class Valkey(Vanilla):
    """A `valkey-server`."""

    name = "valkey"
    kind = "valkey"
