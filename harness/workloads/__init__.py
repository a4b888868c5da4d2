"""Workloads: the operations that clients perform, and the claims checked afterwards.

One workload per file: generator, client operations, final generator, checkers for its claims.
"""
