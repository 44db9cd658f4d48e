"""Readers of containers and of what claims to be one: zip, 7z, RAR, tar, cabinets, disk images, compressed streams.

They run in the inspector only; a name in an archive is never a path.
"""
