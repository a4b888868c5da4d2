"""Snapshots of a shard: taken off-box, by a process that follows the log, and put in an object
store, from which nodes recover (section 4.2 of the MemoryDB paper, SIGMOD 2024).

`objects` is the store, `snapshot` the content of an object, `recovery` finds the newest usable one,
`snapshotter` is the process.
"""
