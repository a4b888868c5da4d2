"""What breaks the system under test.

`protocol` what a fault is; `system` what faults act on and have done to it; `availability` why a
fault is not possible somewhere; `victims` how processes are drawn and found; `catalogue` which
faults there are, by entry point; `nemesis` performs them and measures their effect; `schedule` a
plan as a generator. Every other file is a fault, but for `grudges`, the shapes of partitions.
"""
