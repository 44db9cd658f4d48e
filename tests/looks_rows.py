"""A busy day of a state's gateway, for looking at the pages: thirty held messages of several departments, and everything beside them.

What it is: ``keeper``, a stand-in keeper whose rows are as long, as many and as mixed as real ones, with the officer's phrases of the
shipped rules; ``REVIEWER`` and ``OFFICER``, the sessions that it knows.
Who calls it: ``test_web_looks``.
Must never: hold a real address, name or reference.
Sources: review.py for the rows.
"""

from __future__ import annotations

import time
from typing import Any

from gateway import requests, review
from gateway.config import Config
from gateway.policy import Policy
from tests import items
from tests.faces import FakeKeeper, person
from tests.keeper_kit import shipped_policy
from tests.log_kit import keeper_with_log

REVIEWER, OFFICER = "session-of-the-reviewer-0123456789", "session-of-an-officer-0123456789"
SECOND = "session-of-the-approver-0123456789"
LINK = "t" * 60
NOW = time.time()
DAY = 86_400.0
SUBJECTS = (
    "Posting orders of officers of the Kashmir Administrative Service, second list", "Re: मासिक प्रगति प्रतिवेदन, ग्रामीण विकास विभाग",
    "Draft cabinet note on the revision of land rates (sent back with queries of Finance)", "સચિવાલય બેઠકની કાર્યસૂચિ", "Budget estimates",
    "Fwd: Fwd: Court case WP(C) 1234/2026: para-wise reply to be filed before Monday", "गोपनीय: स्थानांतरण प्रस्ताव",
    "Tender documents for the four-laning of the Akhnoor road, annexures A to K, with drawings and the schedule of quantities",
    "Minutes", "पुणे जिल्हा आढावा बैठक", "Re: Re: RE: verification of antecedents", "",
)  # fmt: skip
DEPARTMENTS = ("home.jk.gov.in", "finance.jk.gov.in", "revenue.gujarat.gov.in", "ruraldevelopment.maharashtra.gov.in", "law.jk.gov.in")
RULES = (
    ("classified-attachment-unencrypted", "A classified attachment must be encrypted"),
    ("outbound-unreadable", "What cannot be read does not leave government"),
    ("confidential-to-private-provider", "CONFIDENTIAL papers may not go to a private mail provider"),
)
PEOPLE = ("asha.kaul", "ravi", "meena.deshpande", "joint-secretary.coordination.and.monitoring")


def held(number: int) -> dict[str, Any]:
    """One held record; every ninth is sealed."""
    department = DEPARTMENTS[number % len(DEPARTMENTS)]
    rule, title = RULES[number % len(RULES)]
    to = [f"section.officer.{number}@nic.in", "deputy.commissioner.anantnag@jk.gov.in", "chambers.of.the.advocate.general@lawfirm.example",
          "someone@gmail.example", "registrar@highcourt.example", "a@b.example"][: 1 + number % 6]  # fmt: skip
    sealed = number % 9 == 4
    created = NOW - number * 0.45 * DAY
    return {
        "id": f"0198f2b0-0000-7000-8000-{number:012d}", "reference": f"01KAM5B0{number:02d}00G00G0000{number:04d}", "created": created,
        "deadline": created + 15 * DAY, "state": ("held", "held", "requested", "approved")[number % 4], "sealed": sealed,
        "level": ("CONFIDENTIAL", "RESTRICTED", None, "CONFIDENTIAL")[number % 4], "rule": "probable-secret" if sealed else rule,
        "title": "What is probably SECRET waits" if sealed else title, "source": "" if sealed else items.SOURCE, "reason": "rule",
        "sender": f"under.secretary.establishment.{number}@{department}", "recipients": [] if sealed else to,
        "tiers": dict(zip(to, ("government", "government", "approved", "private", "other", "other"), strict=False)),
        "subject": "" if sealed else SUBJECTS[number % len(SUBJECTS)], "department": department, "size": 4_800 * (number + 1) ** 2,
        "assigned": PEOPLE[3] if number % 7 == 0 else "reviewer" if number % 7 == 1 else "", "approvals": int(number % 4 == 3), "needed": 2,
        "requested": created, "updated": created, "released": to[:1] if number % 11 == 5 else [],
    }  # fmt: skip


HELD = tuple(held(number) for number in range(30))
FOUND = {
    "total": 12_480, "states": {"held": 9_020, "requested": 2_410, "approved": 1_050}, "levels": {"CONFIDENTIAL": 7000, "RESTRICTED": 3000},
    "rules": {rule: 4_160 for rule, _ in RULES}, "departments": dict.fromkeys(DEPARTMENTS, 2_496), "oldest": NOW - 14 * DAY,
    "next_deadline": NOW + DAY, "due_soon": 214,
}  # fmt: skip
USERS = tuple(
    person(name, *grants, system_user=name[:8] if at % 2 else "", department=DEPARTMENTS[at], created=NOW - (at + 1) * 40 * DAY,
           disabled=at == 3, oidc=at == 0)
    for at, (name, grants) in enumerate(zip(PEOPLE, (
        ("reviewer@home.jk.gov.in", "second-approver@finance.jk.gov.in"), ("second-approver",), ("auditor", "viewer@law.jk.gov.in"),
        ("viewer",),
    ), strict=True))
)  # fmt: skip


def figures() -> dict[str, Any]:
    """What ``Dashboard`` says of a week: busy by day, quiet by night, on five departments."""
    series = [
        {
            "hour": int((NOW - hour * 3600) // 3600),
            "at": NOW - hour * 3600,
            "department": DEPARTMENTS[hour % 5],
            "rule": RULES[hour % 3][0] if disposition != "deliver" else "deliver",
            "disposition": disposition,
            "level": ("", "RESTRICTED", "CONFIDENTIAL")[hour % 3],
            "count": share * (40 if 4 < hour % 24 < 14 else 5) + hour % 7,
        }
        for hour in range(7 * 24)
        for disposition, share in (("deliver", 30), ("hold", 3), ("refuse", 2), ("defer", 1))
    ]
    return {
        "series": series, "step": 1, "oldest": NOW - 14 * DAY, "next_deadline": NOW + DAY, "due_soon": 214, "now": NOW,
        "held": {"held": 9_020, "requested": 2_410, "approved": 1_050},
        "queue": {"scheduled": 12, "leased": 3, "deferred": 41, "on-hold": 1},
        "hops": [
            {"route": "*", "state": "well", "since": NOW - 12, "last_reply": "250 2.0.0 accepted", "waiting": 15},
            {"route": "ruraldevelopment.maharashtra.gov.in", "state": "away", "since": NOW - 7200, "waiting": 41,
             "last_reply": "451 4.4.1 could not connect to mail.ruraldevelopment.maharashtra.gov.in: timed out"},
        ],
    }  # fmt: skip


def officer_item(policy: Policy, language: str) -> dict[str, Any]:
    """What an officer sees of his message."""
    said = policy.explanations.sentence("attachment-unencrypted", language, {"level": "CONFIDENTIAL", "name": "orders.pdf"})
    one = {
        "disposition": "hold", "state": "held", "what": said.what, "why": said.why, "next": list(said.next), "rule": RULES[0][0],
        "title": RULES[0][1], "source": items.SOURCE,
    }  # fmt: skip
    return {
        "reference": HELD[0]["reference"], "created": NOW - 2 * DAY, "sender": HELD[0]["sender"], "subject": SUBJECTS[0],
        "state": "requested", "decided": NOW - 2 * DAY, "recipients": [
            one | {"address": "section.officer.establishment@nic.in"}, one | {"address": "deputy.commissioner.anantnag@jk.gov.in"},
        ],
        "delivered": 3, "released": [], "deadline": NOW + 13 * DAY, "expires": NOW + 28 * DAY, "language": language,
        "languages": ["en", "hi"],
        "remarks": [
            {"created": NOW - DAY, "kind": "request", "author": "you", "text": "The court sits on Monday; the file cannot wait."},
            {"created": NOW - DAY / 2, "kind": "question", "author": "reviewer", "text": "क्या यह पत्र पहले भी भेजा गया था?"},
        ],
        "way": [{"step": "stopped", "at": NOW - 2 * DAY}, {"step": "requested", "at": NOW - DAY}],
        "question": "क्या यह पत्र पहले भी भेजा गया था?", "may_ask": True, "may_answer": True, "may_object": True,
    }  # fmt: skip


def keeper() -> FakeKeeper:
    """Answers every page."""
    policy = shipped_policy()

    def words(request: review.OfficerWords) -> requests.Rows:
        known = policy.explanations.languages
        language = request.language if request.language in known else "en"
        return _rows({
            "language": language, "languages": [{"code": code, "name": one.name} for code, one in known.items()],
            "phrases": {**known["en"].phrases, **known[language].phrases}, "contact": "postmaster@jk.gov.in",
        })  # fmt: skip

    def item(request: requests.ShowHeld) -> requests.Rows:
        if request.id == items.SEALED_ITEM["id"]:
            return _rows(items.SEALED_ITEM)
        return _rows(items.APPROVED if request.id.endswith("7") else items.ITEM)

    made = keeper_with_log()
    made.answers |= items.keeper_of().answers | {
        review.Dashboard: _rows(figures()),
        review.SignInWays: _rows({"password": True, "oidc": "Jan Parichay", "officer": True, "totp": True}),
        review.FindHeld: requests.Rows(HELD), review.CountHeld: _rows(FOUND), requests.ShowHeld: item,
        review.ListViews: _rows({"id": "v1", "name": "Mine, due this week", "filter": {"assigned": "me"}},
                                {"id": "v2", "name": "गृह विभाग", "filter": {"departments": ["home.jk.gov.in"]}}),
        requests.ListUsers: requests.Rows(USERS), review.OfficerWords: words,
        review.OfficerItem: lambda request: _rows(officer_item(policy, "hi" if request.language == "hi" else "en")),
        review.MyMail: _rows(*({name: row[name] for name in ("reference", "created", "subject", "state")} | {"token": LINK}
                               for row in HELD[:4] if not row["sealed"])),
        review.ListTokens: _rows({"id": "t1", "name": "weekly report", "scopes": ["list", "figures"], "created": NOW - 9 * DAY,
                                  "expires": NOW + 80 * DAY, "used": NOW - 300}),
        requests.ReleaseHeld: requests.Failed("somebody else was first: it is released", 1),
        review.BeginTotp: _rows({"secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "uri": "otpauth://totp/gw:reviewer?secret=JBSWY3DPEHPK3PXP"}),
    }  # fmt: skip
    made.sessions[REVIEWER] = person("reviewer", "reviewer", "administrator", "auditor", department="home.jk.gov.in")
    made.sessions[OFFICER] = person("under.secretary.establishment.0@home.jk.gov.in", kind="officer", acts={}, grants=[])
    return made


def config() -> Config:
    """Of the web process before it."""
    return Config(hostname="gw1.jk.gov.in")


def _rows(*rows: dict[str, Any]) -> requests.Rows:
    return requests.Rows(tuple(rows))
