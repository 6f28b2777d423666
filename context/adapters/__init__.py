"""Adapters to frameworks; each module needs its framework and is imported by name."""
