"""Benchmarks of the stores room."""
