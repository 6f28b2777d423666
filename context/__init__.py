"""Prompt -> segments -> compressed context -> LLM."""
