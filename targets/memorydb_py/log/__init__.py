"""The transaction log: three processes, one an availability zone; see docs/transaction-log.md.

`interface` is what a node sees, `client` the node's end of it; `replica` is the consensus among the
three, `store` the disk of one, `service` its process.
"""
