"""The embedded store: one SQLite file for one keeper. ``store.SqliteStore`` is it; its neighbour ``postgres`` is not known here."""
