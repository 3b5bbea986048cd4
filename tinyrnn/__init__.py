"""tinyrnn."""
