"""The decision log: its events, its hash chain with signed heads, its export. Runs in the keeper process."""
