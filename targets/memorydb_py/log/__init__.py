"""The transaction log: three processes, one per availability zone; see docs/transaction-log.md.

`interface` is the protocol for nodes, `client` its implementation; `replica` is Raft among the
three, `store` the durable log of one, `service` its server, `messages` and `wire` what they send.
"""
