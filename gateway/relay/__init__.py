"""Delivery to the next hop: queue, connections, protection of the hop, DKIM signatures, reports. Runs in the keeper process."""
