"""Benchmarks: `python -m bench [NAME …] [--quick]` runs, `… tables` fills README."""
