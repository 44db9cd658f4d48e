"""A negative control: doors that take a message for clean when the inspector died over it. The count must find what was let through."""

try:
    from gateway.doors.peers import InspectorLink
    from gateway.pipeline import InspectorAway, WorkerDied
except ImportError:
    InspectorLink = None  # an interpreter that does not run the gateway

if InspectorLink is not None:
    honest = InspectorLink.inspect

    async def inspect(self, content, sha256, keys=()):
        """As it is; what could not be read is clean."""
        try:
            return await honest(self, content, sha256, keys)
        except (InspectorAway, WorkerDied):
            from gateway.verdict import Headers, Inspection, Leaf, LeafState

            leaf = Leaf("1", "", "text/plain", len(content), LeafState.INSPECTED, "")
            return Inspection(sha256, Headers(), (leaf,), (), ())

    InspectorLink.inspect = inspect
