"""A mail gateway for government departments: SMTP relay, inspection, policy, quarantine and decision log.

The map of the package is in README.md; the order of its modules is held by import-linter (pyproject.toml).
"""

__version__ = "0.1.0"
