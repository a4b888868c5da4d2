"""Targets with two independent shards, each with half of the slots and half of the nodes."""

from __future__ import annotations

from collections.abc import Sequence

from harness.topology import SLOTS, Shard
from targets.replicated.redis_model.target import RedisModel
from targets.replicated.vanilla import Redis


def halves(nodes: Sequence[str]) -> Sequence[Shard]:
    half = len(nodes) // 2
    return (
        Shard(name="s1", slots=((0, SLOTS // 2 - 1),), nodes=nodes[:half], primary=None),
        Shard(name="s2", slots=((SLOTS // 2, SLOTS - 1),), nodes=nodes[half:], primary=None),
    )


class TwoServers(Redis):
    """Two redis-server primaries with their replicas."""

    def shards(self) -> Sequence[Shard]:
        return halves(self.env.nodes)


class TwoModels(RedisModel):
    """Two primaries of the Redis model with their replicas, for simulated runs."""

    def shards(self) -> Sequence[Shard]:
        return halves(self.env.nodes)
