"""Words that a page shows by its style sheets, and words that hidden letters break up."""

from __future__ import annotations

import pytest

from gateway.verdict import LeafState
from tests.content_mail import attached, leaf

_SHOWN = {
    "the value of an attribute": ('<p class=a data-x="SECRET"></p>', ".a:after{content:attr(data-x)}"),
    "two strings": ("<p class=a></p>", '.a:after{content:"SEC" "RET"}'),
    "an escaped property": ("<p class=a></p>", '.a:after{c\\6fntent:"\\53 \\45 \\43 \\52 \\45 \\54"}'),
    "a string over two lines": ("<p class=a></p>", '.a:after{content:"SEC\\\nRET"}'),
    "the mark of a list": ("<ul><li style=\"list-style-type:'\\53 ECRET'\">x</ul>", ""),
    "a counter": ("<ul><li>x</ul>", '@counter-style q{symbols:"\\53 ECRET"}li{list-style:q}'),
    "quotes": ("<q>x</q>", 'q{quotes:"\\53 ECRET" ""}'),
    "a variable": ("<p class=a></p>", ':root{--q:"\\53 ECRET"}.a:after{content:var(--q)}'),
    "a hidden class": ("<p>S<span class=x>qq</span>ECRET</p>", ".x{display:none}"),
    "a hidden class of a list": ("<p>S<span class='a x'>qq</span>ECRET</p>", "p .a, div > .x {display:/**/n\\6fne}"),
    "a hidden identifier": ("<p>S<span id=x>qq</span>ECRET</p>", "#x{font-size:0}"),
    "a hidden element": ("<p>S<i>qq</i>ECRET</p>", "i{visibility:hidden}"),
    "an escaped style": ('<p>S<span style="d\\69splay:none">qq</span>ECRET</p>', ""),
    "a comment in a style": ('<p>S<span style="display:/**/none">qq</span>ECRET</p>', ""),
    "a path that clips": ('<p>S<span style="position:absolute;clip-path:inset(50%)">qq</span>ECRET</p>', ""),
    "a tenth of a pixel": ('<p>S<span style="font-size:0.1px">qq</span>ECRET</p>', ""),
    "a phonetic guide": ("<p>SEC<ruby>R<rt>x</rt></ruby>ET</p>", ""),
    "a fence of a formula": ('<math><mfenced open="SECRET" close=""><mi>x</mi></mfenced></math>', ""),
    "a description": ('<p aria-description="SECRET">x</p>', ""),
}


@pytest.mark.parametrize("trick", _SHOWN)
def test_words_that_a_browser_shows(trick: str) -> None:
    body, style = _SHOWN[trick]
    page = f"<!doctype html><html><head><style>{style}</style></head><body><p>Canteen list</p>{body}<p>bye</p></body></html>"
    found = attached(page.encode(), "list.html", "text/html")
    assert {finding.level.name for finding in found.findings} == {"SECRET"}


def test_hidden_text_of_a_class_is_still_read() -> None:
    page = "<html><head><style>.x{display:none}</style></head><body><p>Canteen</p><p class=x>SECRET</p></body></html>"
    assert attached(page.encode(), "list.html", "text/html").findings


@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [
        (b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "SEC"><!ENTITY b "RET">]><a>&a;&b;</a>', "a.xml", "text/xml"),
        (b'<!DOCTYPE html [<!ENTITY a "SEC"><!ENTITY b "RET">]><html><body>&a;&b;</body></html>', "a.xhtml", "application/xhtml+xml"),
    ],
)
def test_entities_of_a_page_are_not_read(data: bytes, name: str, media_type: str) -> None:
    assert leaf(attached(data, name, media_type)).state is LeafState.SUSPECT


def test_words_in_attributes_of_any_element() -> None:
    found = attached(b'<?xml version="1.0"?><gpx><wpt name="TOP SECRET" lat="1"/></gpx>', "way.gpx")
    assert {finding.level.name for finding in found.findings} == {"TOP_SECRET"}


def test_a_page_that_draws_lines_is_not_read_in_full() -> None:
    page = "<html><body><p>" + "The canteen opens at nine. " * 200 + "</p><svg><path d='" + "M0 0L5 5" * 200 + "'/></svg></body></html>"
    assert leaf(attached(page.encode(), "list.html", "text/html")).state is LeafState.UNINSPECTABLE
    icon = page.replace("M0 0L5 5" * 200, "M0 0L5 5")
    assert leaf(attached(icon.encode(), "list.html", "text/html")).state is LeafState.INSPECTED
