"""Getting stores out and in: backups while in use, and files that other tools read."""
