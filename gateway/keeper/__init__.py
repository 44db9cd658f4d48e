"""The trusted room: the one process of a node that owns the store, the keys and the way to the next hop."""
