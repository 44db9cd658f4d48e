"""The proof that nothing accepted is lost: load, faults drawn by seed, a count (see docs/proof.md)."""
