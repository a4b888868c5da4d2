"""Deterministic simulation: one process, one thread, virtual time, every random choice seeded.

`loop` is the event loop; `process` defines machines and the processes on them; `clock`, `disk`,
`delays`, `link`, `network` and `transport` model their hardware and TCP; `world` combines them.
`sandbox` blocks access to the real machine; `trace` records events, to compare two runs.
"""
