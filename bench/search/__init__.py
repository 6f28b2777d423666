"""Search: attar against every flat, inverted and graph peer."""
