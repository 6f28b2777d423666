"""A corpus becomes a store: sampled, embedded, encoded, committed batch by batch."""
