"""The model as a target: how its nodes are started, simulated or as real processes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from harness.environments.protocol import Environment, ProcessSpec
from harness.errors import UsageError
from harness.host import Host
from harness.targets import TargetInfo, TargetOptions
from targets.replicated.operator import OperatorFailover
from targets.replicated.redis_model.commands import COMMANDS
from targets.replicated.redis_model.node import Node
from targets.replicated.redis_model.settings import Settings
from targets.servers.options import described

# Defaults that suit runs of seconds; vanilla servers get the same two.
SHORT_RUNS = {"repl-ping-replica-period": "1", "min-replicas-max-lag": "2"}


class RedisModel(OperatorFailover):
    """A model of vanilla Redis: asynchronous replication, an operator's failover."""

    name = "redis-model"
    version = "model of Redis 7.0"
    alarms: Sequence[str] = ("Traceback (most recent call last)",)
    settings: Mapping[str, str] = described(Settings)

    def __init__(self, env: Environment, options: TargetOptions) -> None:
        super().__init__(env, options)
        if self.starter is None:
            raise UsageError(
                "redis-model can't attach to servers that already run: give --target redis"
            )
        for flag, value in (("binary", options.binary), ("password", options.credentials.password)):
            if value:
                raise UsageError(f"--{flag}: redis-model does not support it")
        self._given = {**SHORT_RUNS, **options.options}
        try:
            self._settings = Settings.parse(self._given)
        except ValueError as e:
            raise UsageError(f"--option {e}") from e

    @property
    def volatile(self) -> str | None:
        """Why a node that ends loses its data, and what to give instead; None if it does not."""
        if self._settings.appendonly:
            return None
        return (
            "redis-model runs without persistence (appendonly no), so a node that is killed comes "
            "back empty: give --option appendonly=yes --option appendfsync=always to test what it "
            "keeps"
        )

    def spec(self, node: str) -> ProcessSpec:
        primary = self.primary_of(node)
        if primary == node:
            primary = None
        settings = self._settings

        async def main(host: Host) -> None:
            await Node(host, settings, COMMANDS).run(primary)

        host, port = self.env.control_address(node)
        argv = [sys.executable, "-m", "targets.replicated.redis_model", "--name", node]
        argv += ["--listen", f"{host}:{port}"]
        if primary is not None:
            host, port = self.env.address(primary, seen_from=node)
            argv += ["--peer", f"{primary}={host}:{port}", "--replicaof", primary]
        for name, value in self._given.items():
            argv += ["--option", f"{name}={value}"]
        return ProcessSpec(name=node, node=node, argv=argv, main=main)

    def describe(self) -> TargetInfo:
        return TargetInfo(
            target=self.name,
            version=self.version,
            options=dict(self.options.options),
            clock_error_ms=self.clock_error_ms,
        )
