"""What clients do, and what is claimed of the result.

One workload a file: generator, client operations, final operations, checkers for its claims.
"""
