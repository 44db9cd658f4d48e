"""A negative control: a store that answers from memory and makes a transaction durable once a second only. A SIGKILL of the keeper must
be seen to lose mail in it."""

try:
    from gateway.stores.sqlite.writer import Writer
except ImportError:
    Writer = None  # an interpreter that does not run the gateway

if Writer is not None:
    SECONDS = 1.0
    begin, close, settle = Writer._begin, Writer._close, Writer._settle

    def _begin(self, db, patience):
        """Goes on in the transaction that is open."""
        if not db.in_transaction:
            begin(self, db, patience)

    def _commit(self, jobs):
        """Says that it is done."""
        self._chain.written()
        self.open_deliveries += self._applier.delta

    def _settle(self, jobs):
        """Has the transaction written a second after its first batch."""
        settle(self, jobs)
        if not getattr(self, "flushing", False):
            self.flushing = True
            self._loop.call_later(SECONDS, flush, self)

    def flush(self):
        """Writes what waits, when nobody else uses the connection."""
        if self._busy:
            self._loop.call_later(0.005, flush, self)
            return
        self.flushing = False
        if self._db is not None and self._db.in_transaction:
            self._db.execute("COMMIT")

    def _close(self):
        """Writes what waits."""
        if self._db is not None and self._db.in_transaction:
            self._db.execute("COMMIT")
        close(self)

    Writer._begin, Writer._commit, Writer._settle, Writer._close = _begin, _commit, _settle, _close
