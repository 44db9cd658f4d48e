"""What the rules in force are called.

What it is: ``titles``.
Who calls it: the pages that show rules by their titles: the decision log, the dashboard.
Must never: keep a page from being shown.
Source: docs/design.md section 10 ("Web").
"""

from __future__ import annotations

from gateway.review import ListRules
from gateway.web.door import Refused, Visitor


async def titles(visitor: Visitor) -> dict[str, str]:
    """Rule id to title; nothing where they cannot be asked for now."""
    try:
        return {str(row["id"]): str(row["title"]) for row in await visitor.rows(ListRules())}
    except Refused:
        return {}
