"""Protocol codecs and their states, without I/O: bytes in, events and bytes out."""
