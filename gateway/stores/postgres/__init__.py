"""The store in PostgreSQL, which many keepers share. ``store.PostgresStore`` is it; its neighbour ``sqlite`` is not known here."""
