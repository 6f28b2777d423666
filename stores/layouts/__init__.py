"""Byte layouts of codes, one file each; each states its bytes as a formula."""
