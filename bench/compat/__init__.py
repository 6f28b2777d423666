"""Benchmarks of changing the embedding model."""
