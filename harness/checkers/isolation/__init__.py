"""Isolation levels of transactions."""
