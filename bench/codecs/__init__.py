"""Benchmarks of codecs."""
