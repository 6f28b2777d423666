"""Filters over metadata: the dialect, and the typed index that answers it."""
