"""Benchmarks of the vision room."""
