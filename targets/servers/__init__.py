"""The common parts of `memorydb_py` and `redis_model`: connections, transactions, statistics.

`session` is a connection, `transactions` are MULTI and WATCH, `statistics` the counters of INFO,
`later` is work that awaits an engine, `options` describes settings. A server has two tables of
commands: those of its engine, and its own, whose functions take the server, a session and a
command; both are passed to it.
"""
