"""Search kernels: one folder an operation, `reference` in numpy is the truth of each."""
