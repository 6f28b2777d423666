"""Exact top-k over the codes."""
