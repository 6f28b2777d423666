"""Benchmarks of the retrieval room."""
