"""What a held record says, in plain sentences: the decision, where a marking stands, what happened.

What it is: pure functions and tables from the words of rows to the words of people.
Who calls it: ``item_record`` and ``item_pages``.
Must never: return markup; take a word of a message for one of ours; say more than the row says.
Sources: docs/design.md section 10 ("Records"); docs/design.md section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ZONES = {
    "label": "a label of the message", "subject": "the subject", "body-first": "the first lines", "body-last": "the last lines",
    "body": "the text", "quoted": "quoted text", "page-header": "the head of a page", "page-footer": "the foot of a page",
    "watermark": "a watermark", "control-block": "the block of handling details", "property": "the properties of the file",
    "file-name": "the name of the file",
}  # fmt: skip
TIERS = {
    "government": "government", "government-external": "government, outside", "approved": "approved", "private": "private provider",
    "other": "other",
}  # fmt: skip
LEAVES = {
    "inspected": "read in full", "opaque": "strongly encrypted, cannot be read", "uninspectable": "a kind that cannot be read",
    "suspect": "could not be read in full",
}  # fmt: skip
PROTECTIONS = {"none": "not encrypted", "weak": "weakly encrypted", "strong": "strongly encrypted", "unverifiable": "encryption not proved"}
DOORS = {"smtp": "SMTP", "submission": "submission", "smtps": "submission over TLS", "milter": "milter", "imap": "IMAP"}
_OOXML, _ODF = "application/vnd.openxmlformats-officedocument.", "application/vnd.oasis.opendocument."
KINDS = {
    "text/plain": "text", "text/html": "HTML", "text/calendar": "calendar entry", "text/rtf": "RTF document",
    "application/rtf": "RTF document", "application/pdf": "PDF",
    "application/msword": "Word document (.doc)", "application/vnd.ms-excel": "Excel table (.xls)",
    "application/vnd.ms-powerpoint": "PowerPoint slides (.ppt)", f"{_OOXML}wordprocessingml.document": "Word document",
    f"{_OOXML}spreadsheetml.sheet": "Excel table", f"{_OOXML}presentationml.presentation": "PowerPoint slides",
    f"{_ODF}text": "OpenDocument text", f"{_ODF}spreadsheet": "OpenDocument table", f"{_ODF}presentation": "OpenDocument slides",
    "application/zip": "ZIP archive", "application/x-7z-compressed": "7-Zip archive", "application/vnd.rar": "RAR archive",
    "application/x-rar": "RAR archive", "application/x-tar": "tar archive", "application/gzip": "gzip file", "message/rfc822": "message",
    "image/png": "PNG picture", "image/jpeg": "JPEG picture", "image/gif": "GIF picture", "image/tiff": "TIFF picture",
    "image/svg+xml": "SVG drawing", "application/pgp-encrypted": "PGP message", "application/pkcs7-mime": "S/MIME message",
    "application/vnd.ms-outlook": "Outlook message", "application/octet-stream": "unknown kind",
}  # fmt: skip
"""What people call a type of content; the others are shown by their name alone."""
ACTIONS = {
    "message-accepted": "Accepted for delivery", "message-held": "Held", "message-blocked": "Refused by rule",
    "message-deferred": "Answered with \u201ctry again later\u201d", "message-copied": "Copied", "held-approved": "Approved, first of two",
    "held-released": "Released", "held-refused": "Refused", "held-asked": "Asked the sender", "held-forwarded": "Handed to a colleague",
    "held-relevelled": "Given another level", "held-level-proposed": "Another level proposed, first of two", "held-expired": "Expired",
    "held-exported": "Content taken out", "held-decided-again": "Released under today\u2019s rules", "content-viewed": "Content looked at",
    "content-downloaded": "Content downloaded", "officer-requested": "The sender asked for release",
    "officer-objected": "The sender says that this is a mistake", "officer-answered": "The sender answered",
}  # fmt: skip
REMARKS = {
    "question": "Question to the sender", "answer": "Answer of the sender", "request": "The sender asks for release",
    "objection": "The sender says that this is a mistake", "forward": "Handed to a colleague", "level": "Another level", "note": "Note",
}  # fmt: skip
DISPOSITIONS = {"deliver": "delivered", "hold": "held", "refuse": "refused", "defer": "put off"}
DIRECTIONS = {"internal": "inside", "outbound": "to outside", "inbound": "from outside"}

SAID = {
    "released": ("good", "Released. The message goes on its way now."),
    "released-some": ("good", "Released to those you chose. The others still wait."),
    "approved": ("notice", "Your approval is recorded. It is the first of two: a second person has to agree before anything is sent."),
    "refused": ("good", "Refused. The sender is told, with your note."),
    "refused-silent": ("good", "Refused. Nobody may be told: the sender is not a verified originator of this organisation."),
    "asked": ("good", "The question was sent. The answer will stand on this page."),
    "relevelled": ("good", "The message has its new level now."),
    "level-proposed": ("notice", "Your proposal is recorded. A lower level needs a second person, who has to agree."),
    "forwarded": ("good", "Handed over. Your colleague is told by mail."),
    "forwarded-silent": ("notice", "Handed over. No address of your colleague is known, so no mail was sent: please tell him."),
    "decided-again": ("good", "Decided again under today\u2019s rules: those whom nothing holds any more get the message now."),
    "excepted": ("good", "The exception is in the register. It holds for later mail; decide this message again to use it here."),
}  # fmt: skip
"""What a page says after an act, by the code in its address: its class and its text."""


def code_of(act: str, message: str) -> str:
    """The code of ``SAID`` for what the keeper answered to *act*."""
    if act == "release":
        return "approved" if message.startswith("approved") else "released-some" if message.endswith("still held") else "released"
    if act == "level":
        return "level-proposed" if message.endswith("1 of 2") else "relevelled"
    if act == "refuse":
        return "refused-silent" if message.endswith("nobody may be told") else "refused"
    if act == "forward":
        return "forwarded-silent" if "no mail was sent" in message else "forwarded"
    return {"ask": "asked", "again": "decided-again", "exception": "excepted"}[act]


def action(code: str) -> str:
    """What happened, for the *code* of the log; one that has no words here is shown as it stands there."""
    return ACTIONS.get(code) or code.replace("-", " ").capitalize()


def kind(media_type: str) -> str:
    """What people call content of that type."""
    if media_type.startswith("multipart/"):
        return "parts together"
    return KINDS.get(media_type) or media_type


def counted(number: int, what: str) -> str:
    """``1 recipient``, ``2 recipients``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def decision(row: Mapping[str, Any]) -> str:
    """The decision in one sentence: for how many, which rule, under which source."""
    decisions, rule = row.get("decisions") or (), str(row.get("rule") or "")
    if row.get("sealed"):
        return f"Held, sealed to the security officer, because of {_because(str(row.get('title') or rule), str(row.get('source') or ''))}."
    parts: list[str] = []
    for disposition in ("hold", "refuse", "defer"):
        some = [one for one in decisions if one.get("disposition") == disposition]
        by_rule: dict[tuple[str, str], int] = {}
        for one in some:
            key = (str(one.get("title") or one.get("rule") or ""), str(one.get("source") or ""))
            by_rule[key] = by_rule.get(key, 0) + 1
        for (title, source), count in by_rule.items():
            word = DISPOSITIONS[disposition]
            parts.append(f"{word} for {_of(count, len(decisions))} because of {_because(title, source)}")
    if not parts:
        parts = [f"held because of {_because(str(row.get('title') or rule), str(row.get('source') or ''))}"]
    delivered = sum(one.get("disposition") == "deliver" for one in decisions)
    sentence = "; ".join(parts)
    rest = f"; {counted(delivered, 'other')} got it at once" if delivered else ""
    return f"{sentence[:1].upper()}{sentence[1:]}{rest}."


def _of(count: int, all_: int) -> str:
    if all_ == 1:
        return "its only recipient"
    return f"all {all_} recipients" if count == all_ else f"{count} of {all_} recipients"


def _because(title: str, source: str) -> str:
    if not title:
        return "no rule that lets it pass"
    return f"the rule \u201c{title}\u201d" + (f", under {source}" if source else "")


def outcome(row: Mapping[str, Any]) -> str:
    """What became of it so far, in one sentence; empty while nothing has."""
    state, history = str(row.get("state") or ""), row.get("history") or ()
    ends = {"released": ("held-released", "held-decided-again"), "refused": ("held-refused",), "expired": ("held-expired",)}
    done, all_ = len(row.get("released") or ()), len(row.get("recipients") or ())
    last = next((step for step in reversed(history) if step.get("action") in ends.get(state, ())), None)
    by = f" by {last['user']}" if last is not None and last.get("user") else ""
    if state == "released":
        return f"It was released{by}." if done == all_ else f"It was released{by} to {counted(done, 'recipient')}."
    if state == "refused":
        return f"It was refused{by}." + (f" {counted(done, 'recipient')} had got it before." if done else "")
    if state == "expired":
        return "Its time ran out before anybody decided." + (" The sender was told." if row.get("verified_originator") else "")
    if done:
        return f"{done} of {counted(all_, 'recipient')} have got it; the others wait."
    if state == "approved" and row.get("first_yes"):
        return f"{row['first_yes']} has approved it; a second person has to agree."
    return "The sender has asked for its release." if state == "requested" else ""


def place(path: str, name: str = "") -> str:
    """Where a piece of evidence stands: a header field, or a part of the message."""
    if path.startswith("header:"):
        return f"the header field {path.removeprefix('header:')}"
    number, colon, names = path.partition(":")
    inner = names.rpartition("/")[2] if colon else ""
    return f"{name or inner} (part {number})" if name or inner else f"part {number}" if number else "the message"
