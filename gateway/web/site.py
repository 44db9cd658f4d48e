"""What every module of pages is given.

What it is: ``Site``.
Who calls it: ``application`` makes it; each ``*_pages`` module and ``api`` builds its router with it.
Must never: hold anything of one visitor.
Source: docs/design.md section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Depends

from gateway.config import Config
from gateway.web.door import Ask, Door
from gateway.web.pages import Pages


@dataclass(frozen=True, slots=True)
class Site:
    """The parts that all pages share."""

    config: Config
    ask: Ask
    door: Door
    pages: Pages

    @property
    def entered(self) -> Any:
        """The default of a route's argument ``visitor: Visitor``."""
        return Depends(self.door.enter)
