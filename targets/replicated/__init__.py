"""One primary with asynchronous replicas: vanilla Redis and Valkey, and a model of them.

`operator` is their common part: an operator announces the primary. `vanilla` runs server
binaries, `redis_model` is a small server of our own, which can be simulated.
"""
