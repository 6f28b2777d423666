"""Text or image -> small vectors -> hits."""
