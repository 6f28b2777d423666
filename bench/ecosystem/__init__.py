"""Frameworks and libraries that attar plugs into."""
