"""Benchmarks of the context room."""
