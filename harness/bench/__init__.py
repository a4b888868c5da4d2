"""`harness bench`: the reference beside Redis and Valkey, held against the paper's measurements.

`servers` starts the processes, `measure` loads them, `shapes` says what the paper saw and whether
it is so here, `page` renders the results.
"""
