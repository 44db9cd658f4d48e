"""Readers of compound files: Word, Excel and PowerPoint of 97 to 2003, Outlook items, macros, encrypted Office packages.

They run in the inspector only.
"""
