"""A negative control: a store that never waits for the disk. A power cut must be seen to lose mail in it."""

try:
    from gateway.stores.sqlite import connection
except ImportError:
    connection = None  # an interpreter that does not run the gateway

if connection is not None:
    honest, connection.CHECKPOINT_PAGES = connection.connect_writer, 60  # as in none/, which this is held against

    def connect_writer(path, connect):
        """As it is, but that nothing is synced."""
        db = honest(path, connect)
        db.execute("PRAGMA synchronous=OFF")
        return db

    connection.connect_writer = connect_writer
