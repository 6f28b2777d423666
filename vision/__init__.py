"""Image -> encoder wrapper -> fewer, cleaner tokens. Imports nothing of ours."""
