"""Readers of what is encrypted, signed or pretends to be: OpenPGP, CMS, age, openssl, stores, keys, covers.

They run in the inspector only, and never call strong what was not proved.
"""
