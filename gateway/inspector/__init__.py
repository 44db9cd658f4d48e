"""The inspector: its process, what its workers give away, and the programs that run beside them.

Nothing here knows a format; ``content.unpack`` does.
"""
