"""Readers of pictures, sound and film: structure without decoding, and the pixels for the recognition of words.

They run in the inspector only.
"""
