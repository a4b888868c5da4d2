"""What breaks the system under test.

`faults` holds the protocol of a fault and the registry; `partition`, `links`, `clocks`,
`processes`, `power` and `failover` the faults; `grudges` the shapes of partitions; `schedule`
when they happen; `nemesis` performs them and measures their effect.
"""
