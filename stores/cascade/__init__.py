"""Search that touches few bytes: sketch, middle stage, exact scores, certificate."""
