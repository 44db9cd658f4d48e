"""The message as bytes: limits first, then its structure as several readers see it, and the edits we make. Pure."""
