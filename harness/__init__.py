"""Consistency verification for Redis-like databases: the map of the code, in reading order.

    history        operations, histories, the file that a run appends to
    generators     what to do next: pure combinators
    clients        one connection, no retries; the table from errors to fail or info
    interpreter    generator x workers x nemesis -> history
    models/        sequential specifications
    checkers/      history in, verdict out; native/ is the search core in C++
    formats/       histories of others, in and out; check: a file against a model
    environments/  where nodes live: local processes behind a fault proxy, or external servers
    nemesis/       what breaks them, and when
    workloads/     generator + client operations + claims
    targets        the protocol of a system under test, and how one is found
    spec, runner   what to run, and the life of a run
    judge, report/ from a history on disk to a verdict and a page for people
    results        the layout of results/
    cli            the command line; __main__ the way in

A library user needs little of it:

    from harness.checkers import linearizability
    from harness.history import read_history
    from harness.models.register import Register

    history, warnings = read_history(path)
    verdict = linearizability.check(history, Register())
"""
