"""Vanilla Redis and Valkey: one primary with replicas, no Sentinel, no Cluster."""

from targets.vanilla.replication import Redis, Valkey

__all__ = ["Redis", "Valkey"]
