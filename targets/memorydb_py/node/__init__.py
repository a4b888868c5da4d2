"""A node of the shard: primary or replica, as the log decides.

`shard` is its place in the log (lease, election, what is applied), `tracker` what is not committed,
`session` a connection, `server` what happens to a command; `commands` are those of the server
itself, `cluster` what cluster clients ask.
"""
