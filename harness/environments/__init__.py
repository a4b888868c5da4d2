"""Where the nodes of a run live.

`protocol` is what every environment has, and the types of what only some can do; `local`
processes of this machine, every link through the fault `proxy`; `simulated` the simulated world;
`external` servers that somebody else runs. Each is registered by entry point.
"""
