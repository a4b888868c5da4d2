"""What breaks the system under test.

`faults` holds the protocol of a fault and the registry; `partition`, `processes` and `failover`
the faults; `grudges` the shapes of partitions; `schedule` when they happen; `nemesis` performs
them and measures their effect.
"""
