"""What our two servers share: connections, transactions, and engines that answer later.

`session` is a connection, `transactions` are MULTI and WATCH, `statistics` what INFO counts,
`later` continues work when an engine has answered. A server has two tables of commands: those of
its engine, and its own, whose functions take the server, a session and a command; both are passed
to it.
"""
