"""`harness bench`: the reference beside Redis and Valkey, compared with the MemoryDB paper.

`servers` starts the processes, `measure` loads them, `shapes` compares the results with those of
the paper (SIGMOD 2024), `page` renders them.
"""
