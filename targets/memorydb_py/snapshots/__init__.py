"""Snapshots of a shard: taken off-box, by a process that follows the log, and put in an object
store, from which nodes recover (the paper, 4.2).

`objects` is the store, `snapshot` what is in one of its objects, `snapshotter` the process.
"""
