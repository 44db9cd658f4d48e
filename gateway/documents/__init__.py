"""Readers of documents in open formats: text, HTML, RTF, PDF, OOXML, OpenDocument, calendars, mail.

They run in the inspector only.
"""
