"""Sketch scan."""
