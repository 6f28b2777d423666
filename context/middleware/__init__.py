"""Conversations kept within a budget: what is safe to touch, when, and what it cost."""
