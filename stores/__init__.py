"""Bytes: code layout, kernels, search, disk, engines. Imports nothing of ours."""
