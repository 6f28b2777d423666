"""Shorter text: selection of sentences, truncation, and their division over many texts."""
