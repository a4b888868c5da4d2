"""The simulated world: one process, one thread, virtual time, everything drawn from a seed.

`loop` is the event loop, `process` what runs on it as if alone on a machine, `clock`, `disk`,
`network` and `transport` the machine's parts, `world` puts them together. `sandbox` keeps the
real machine out, `trace` proves that two runs were one.
"""
