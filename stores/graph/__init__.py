"""A graph over the leading coordinates of the codes, for single queries at high recall."""
