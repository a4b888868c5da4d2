"""Checkers: from a recorded history to a verdict.

`verdict` defines the checker protocol. `linearizability` checks a history against a model,
`isolation` against an isolation level; `claims` holds the checkers that need no model; `files`
checks a history file.

    from harness.checkers import linearizability

    verdict = linearizability.check(history, Register())
"""
