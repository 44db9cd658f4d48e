"""How pages are made: the templates, their filters, and what every page knows.

What it is: ``Pages``: ``page`` (a whole page), ``part`` (a piece of one, for a page that is open) and ``said`` (one plain message).
Who calls it: every module of pages.
Must never: mark text of a message as safe; load a template that is not in the package.
Sources: hostile-inputs catalogue W01; Guidelines for Indian Government Websites.
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.config import Config
from gateway.web import marked, shown

if TYPE_CHECKING:
    from gateway.web.door import Visitor

_HERE = FilePath(__file__).parent


class Pages:
    """The templates of the package."""

    def __init__(self, config: Config) -> None:
        self._hostname = config.hostname
        self._made = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._made.filters.update(visible=shown.visible, day=shown.day, left=shown.left, ago=shown.ago, size=shown.size)
        self._made.filters["readable"] = marked.readable

    def page(self, name: str, visitor: Visitor | None = None, status: int = 200, **words: Any) -> HTMLResponse:
        """The template *name* for *visitor* (None: nobody is signed in)."""
        return HTMLResponse(self._render(name, visitor, words), status)

    def part(self, name: str, visitor: Visitor, status: int = 200, **words: Any) -> HTMLResponse:
        """The same for a template that is no whole page."""
        return self.page(name, visitor, status, **words)

    def said(self, title: str, text: str, status: int, visitor: Visitor | None = None) -> HTMLResponse:
        """A page with one plain message."""
        return self.page("message.html", visitor, status, title=title, text=text)

    def _render(self, name: str, visitor: Visitor | None, words: dict[str, Any]) -> str:
        known = {"hostname": self._hostname, "visitor": visitor, "here": "", "language": "en"}
        return self._made.get_template(name).render(**(known | words))
