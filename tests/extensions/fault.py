"""A fault in one file: it resets the connections of clients to a node."""

from __future__ import annotations

from typing import Any

from harness import DrawContext, Effect, Injected, Layer, System, Target, Traits
from harness.environments.protocol import CanPartition, Environment
from harness.nemesis import victims


class Reset:
    """Resets the connections that clients have open to a node."""

    name = "reset"
    traits = Traits(layer=Layer.LINKS, disturbs=frozenset({"links"}))
    takes = victims.Victim

    def available(self, target: Target, env: Environment) -> str | None:
        return None if isinstance(env, CanPartition) else "the environment can't reset connections"

    def draw(self, chance: DrawContext, system: System) -> dict[str, Any]:
        return {"victim": "primary"}  # clients have no connections to the replicas

    async def inject(self, system: System, arguments: dict[str, Any]) -> Injected:
        node = victims.resolve(arguments["victim"], system)
        network, clients = system.env.network, system.env.client_hosts
        return Done(node, sum([await network.reset(client, node) for client in clients]))


class Done:
    def __init__(self, node: str, count: int) -> None:
        self.did = {"node": node, "connections": count}

    async def heal(self) -> Effect:
        return Effect(self.did["connections"] > 0, {"connections": self.did["connections"]})
