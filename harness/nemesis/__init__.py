"""Faults that are injected into the system under test.

`protocol`: the protocol of a fault; `system`: what faults act on, and the active faults' state;
`availability`: reasons why a fault is not available; `victims`: how processes are drawn and found;
`catalogue`: the registered faults; `nemesis` injects and heals them and measures their effects;
`schedule`: a plan as a generator; `grudges`: the shapes of partitions; `links`: the links of a
process. Every other file is a fault.
"""
