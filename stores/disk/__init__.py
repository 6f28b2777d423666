"""What lies on disk: the catalog, immutable segments, the lock, the seal."""
