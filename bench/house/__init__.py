"""Benchmarks of the whole path: corpus to store to answers."""
