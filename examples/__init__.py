"""Examples that run: each file is one, `make demo` runs the first."""
