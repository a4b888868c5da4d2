"""The command engine: executes Redis' commands on data in memory.

`protocol` is what a server needs of any engine; `python` is this one. `execution` is the interface
between the engine and the functions of its commands, which are in modules by kind; `commands` is
their table, `table` what a table of commands is. `state` and `values` are the data, `resp` the
protocol, `rdb` and `rdb_file` its serialization, `scripts` runs Lua, `syntax` and `documentation`
are what COMMAND DOCS says. `model` is the engine as a sequential specification for checkers.

Two servers use it: `replicated.redis_model` streams the effects of commands to replicas,
`memorydb_py` appends them to a log.
"""
