"""attar: retrieval stores, image tokens and long prompts, several times smaller."""

__version__ = "0.1.0"
