"""Environments: where the nodes of a run live.

`protocol` defines the interface of all environments, and the capabilities that only some have.
`local` runs processes on this machine, every link through the fault `proxy`; `simulated` runs them
in a simulated world; `external` uses servers that already run. Each is registered by entry point.
"""
