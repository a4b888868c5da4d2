"""A recorded history in, a verdict out.

`verdict` is what a checker is; `linearizability` and `isolation` decide by a model or by a level;
`claims` are what runs are judged for by accounting; `files` is a history file against a model.

    from harness.checkers import linearizability

    verdict = linearizability.check(history, Register())
"""
