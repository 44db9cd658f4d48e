"""What people ask on the review pages, the officer's page and the API: every such request, typed.

What it is: msgspec Structs. ``As`` carries one of them with the credential of whoever asks (a session, or a token of the API); the
keeper finds the person behind it and decides what he may. Those outside ``As`` come from somebody who is not signed in yet, or from an
officer with the signed link of his report. Times are seconds since the epoch; ids are those of the rows.
Who calls it: ``requests``, from where everybody takes them.
Must never: carry a key; name a person whom the credential does not prove.
Sources: docs/design.md sections 2 and 4; docs/design.md section 10 ("Web"); hostile-inputs catalogue group W.
"""

from __future__ import annotations

import msgspec

from gateway.inquiries import (
    AddException,
    AddUser,
    ExpireException,
    ExportHeld,
    Inquiry,
    ListExceptions,
    ListQueue,
    ListUsers,
    RefuseHeld,
    ReleaseHeld,
    SearchAudit,
    ShowAudit,
    ShowHeld,
)

# --- held mail --------------------------------------------------------------------------------------------------------


RELATIVE = 1e9
"""A time of a filter below this (September 2001) is meant from now on."""


class Filter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which held records: all that is given has to fit; an empty tuple or text asks for nothing."""

    states: tuple[str, ...] = ()
    """Empty: the open ones."""
    levels: tuple[str, ...] = ()
    """Texts of levels; ``none`` for mail without any."""
    rules: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    words: str = ""
    """Searched in reference, addresses, domains, rule, department and the words of subjects; every word has to be there."""
    since: float = 0
    until: float = 0
    sealed: bool | None = None
    assigned: str = ""
    """Forwarded to this person; ``me`` for whoever asks."""
    due: float = 0
    """The deadline is before this; below ``RELATIVE``: within so many seconds from now, so that a saved view stays true."""


class FindHeld(Inquiry, frozen=True):
    """Held records, newest first, as ``ListHeld`` gives them and with ``tiers`` (by address), ``assigned``, ``approvals`` (how many),
    ``needed`` (how many a release needs), ``requested``, ``updated``, and ``title`` and ``source`` of the rule; at most 200.

    *before* pages on from an id. *changed_since*: only what changed after this time, for a page that is open; without states in the
    filter also what is no longer open.
    """

    filter: Filter = Filter()
    limit: int = 50
    before: str = ""
    changed_since: float = 0


class CountHeld(Inquiry, frozen=True):
    """One row: ``total``, and how many by ``states``, ``levels``, ``rules``, ``departments`` (dicts), ``oldest``, ``next_deadline``,
    ``due_soon`` (how many) and ``more`` (there are more than were counted)."""

    filter: Filter = Filter()


class ShowContent(Inquiry, frozen=True):
    """What was read of a held message, with the marked words in their places; recorded as content viewed.

    One row: ``subject``, ``headers`` (name and value), ``leaves``: for each ``path name media_type size state reason level protection
    pages`` (of a document whose pages can be drawn, else 0), ``cut`` (a sentence where not everything is shown, else empty) and
    ``segments``: ``zone page text marks``, a mark being ``[start, end, level, confidence]`` in characters of the segment.
    ``subject_marks`` are those of the subject; ``beside``: ``path zone text level confidence`` of markings that stand in no segment
    (names of files, properties, header fields, what was cut off).
    """

    id: str


class ShowPage(Inquiry, frozen=True):
    """One page of a PDF leaf as a PNG, with the marked words boxed: the frame's body. Pages count from 1."""

    id: str
    path: str
    page: int


class DownloadLeaf(Inquiry, frozen=True):
    """One leaf's octets as the frame's body (empty *path*: the whole message); recorded as a download, with *reason*."""

    id: str
    path: str
    reason: str


class AskOfficer(Inquiry, frozen=True):
    """A question to the originator, who answers on his page."""

    id: str
    text: str
    user: str = ""
    """As in ``ReleaseHeld``: for the command line alone; on the pages it is the person of the session."""


class ReclassifyHeld(Inquiry, frozen=True):
    """The level that a person finds right: recorded, and what a release labels. Lower than what was found needs the second person."""

    id: str
    level: str
    reason: str
    user: str = ""
    """As in ``ReleaseHeld``: for the command line alone; on the pages it is the person of the session."""


class ForwardHeld(Inquiry, frozen=True):
    """Hands an item to the reviewer *to*, with a note; he finds it under ``assigned``."""

    id: str
    to: str
    note: str
    user: str = ""
    """As in ``ReleaseHeld``: for the command line alone; on the pages it is the person of the session."""


class DecideAgain(Inquiry, frozen=True):
    """What the rules of today say of each waiting recipient: rows ``address disposition rule explanation``.

    With *apply* those whom nothing holds any more are released, with *reason*; nothing is waived.
    """

    id: str
    apply: bool = False
    reason: str = ""
    user: str = ""


class Colleagues(Inquiry, frozen=True):
    """Those to whom an item may be forwarded: rows ``name email``."""

    id: str


# --- saved views ------------------------------------------------------------------------------------------------------


class ListViews(Inquiry, frozen=True):
    """One's own saved views: rows ``id name filter``."""


class SaveView(Inquiry, frozen=True):
    """Keeps *filter* under *name*; the same name again replaces it."""

    name: str
    filter: Filter


class DropView(Inquiry, frozen=True):
    """Forgets a view."""

    id: str


# --- one's own account ------------------------------------------------------------------------------------------------


class WhoAmI(Inquiry, frozen=True):
    """One row: ``name email language grants acts`` (where each is permitted: departments, or null for all) ``kind`` (``person`` or
    ``officer``) ``password totp`` (whether set) ``fresh`` (whether a password or TOTP has still to be set)."""


class SetPassword(Inquiry, frozen=True):
    """A new password; *old* may be missing only right after a one-time login."""

    new: str
    old: str = ""

    def __repr__(self) -> str:
        return "SetPassword()"


class BeginTotp(Inquiry, frozen=True):
    """A new secret for codes (RFC 6238), not in force before ``ConfirmTotp``: one row ``secret uri``."""


class ConfirmTotp(Inquiry, frozen=True):
    """Puts the secret of ``BeginTotp`` in force; *code* proves that the device has it."""

    code: str


class SetLanguage(Inquiry, frozen=True):
    """The language of the officer's pages and of mail to this person."""

    language: str


class SignOut(Inquiry, frozen=True):
    """Ends the session; with *everywhere* all sessions of this person."""

    everywhere: bool = False


class ListTokens(Inquiry, frozen=True):
    """One's own tokens of the API: rows ``id name scopes created expires used``."""


class AddToken(Inquiry, frozen=True):
    """A token of the API, which may do what *scopes* (acts) and the person both permit; the row's ``token`` is shown once."""

    name: str
    scopes: tuple[str, ...]
    expires: float


class DropToken(Inquiry, frozen=True):
    """Ends a token."""

    id: str


# --- people -----------------------------------------------------------------------------------------------------------


class ChangeUser(Inquiry, frozen=True):
    """Changes a person; None leaves a field as it is. It holds from his next request on."""

    name: str
    email: str | None = None
    department: str | None = None
    grants: tuple[str, ...] | None = None
    disabled: bool | None = None


class InviteUser(Inquiry, frozen=True):
    """A one-time login for *name*, with which he sets password and codes anew: the row holds ``token``. Ends his sessions."""

    name: str


# --- figures, rules ---------------------------------------------------------------------------------------------------


class Dashboard(Inquiry, frozen=True):
    """One row: ``series`` (rows ``hour at department rule disposition level count``; *hour* counts India's hours, *at* is when it begins),
    ``step`` (hours of one count: 1, or 24 in a long period), ``oldest``, ``next_deadline``, ``held`` (by state), ``queue`` (by state),
    ``hops`` (rows ``route state since last_reply waiting``; *state*: well, away, not used; *since*: when it last answered), ``due_soon``,
    ``now``."""

    since: float
    until: float
    department: str = ""


class ListRules(Inquiry, frozen=True):
    """The rules in force: rows ``id title source then mode pack explain owner``, and of each the explanation in *language*: ``what why
    next``, with … for the words of a message."""

    language: str = "en"


# --- the officer ------------------------------------------------------------------------------------------------------


class OfficerWords(Inquiry, frozen=True):
    """The phrases of the officer's page in *language* (one that is known, else the first of the config): one row ``language languages``
    (rows ``code name``) ``phrases`` (by key) ``contact``."""

    language: str = ""


class OfficerItem(Inquiry, frozen=True):
    """What was stopped, to the bearer of the signed link *token*: one row without any content.

    ``reference created sender subject state`` (of the held record; ``stopped`` where nothing is held) ``decided recipients`` (rows
    ``address disposition state what why next rule title source``) ``delivered`` (how many others got it) ``released`` (addresses)
    ``remarks`` (rows ``created kind author text``; of reviewers only what is meant for him; author: ``reviewer`` or ``you``) ``way``
    (rows ``step at``: stopped, requested, approved, released, refused, expired) ``question`` (that waits for an answer)
    ``may_ask may_answer may_object deadline language languages expires``.
    """

    token: str
    language: str = ""


class OfficerAsk(Inquiry, frozen=True):
    """The request for release, with its justification."""

    token: str
    text: str
    recipients: tuple[str, ...] = ()


class OfficerObject(Inquiry, frozen=True):
    """ "This is a mistake": goes to the owner of the rule."""

    token: str
    text: str


class OfficerAnswer(Inquiry, frozen=True):
    """The answer to a reviewer's question."""

    token: str
    text: str


class MyMail(Inquiry, frozen=True):
    """Of an officer who is signed in: the stopped mail of his own addresses, rows ``reference created subject state token``."""

    limit: int = 50


# --- who is not signed in ---------------------------------------------------------------------------------------------


class SignIn(Inquiry, frozen=True):
    """Name, password and code of a person; the row holds ``session`` and ``user``. Nothing of it is ever written down."""

    name: str
    password: str
    code: str = ""
    client_ip: str = ""
    officer: bool = False
    """The login of a mailbox (as for submission): a session that sees its own stopped mail and nothing else."""

    def __repr__(self) -> str:
        return f"SignIn(name={self.name!r}, client_ip={self.client_ip!r})"


class Redeem(Inquiry, frozen=True):
    """A one-time login for a session: ``session user``."""

    token: str
    client_ip: str = ""

    def __repr__(self) -> str:
        return f"Redeem(client_ip={self.client_ip!r})"


class BeginOidc(Inquiry, frozen=True):
    """Where the browser is to go to sign in with OpenID Connect: ``url`` and ``state``, which the browser keeps in a cookie."""


class EndOidc(Inquiry, frozen=True):
    """What came back from there, with the *state* of the cookie: ``session user``."""

    code: str
    state: str
    client_ip: str = ""

    def __repr__(self) -> str:
        return f"EndOidc(client_ip={self.client_ip!r})"


class SignInWays(Inquiry, frozen=True):
    """One row: which ways of signing in there are: ``password oidc`` (its name, or empty) ``officer`` (bool)."""


PersonRequest = (
    FindHeld | CountHeld | ShowHeld | ShowContent | ShowPage | DownloadLeaf | ExportHeld | ReleaseHeld | RefuseHeld | AskOfficer
    | ReclassifyHeld | ForwardHeld | DecideAgain | Colleagues | ListViews | SaveView | DropView | WhoAmI | SetPassword | BeginTotp
    | ConfirmTotp | SetLanguage | SignOut | ListTokens | AddToken | DropToken | ListUsers | AddUser | ChangeUser | InviteUser
    | Dashboard | ListRules | ListQueue | SearchAudit | ShowAudit | ListExceptions | AddException | ExpireException | MyMail
)  # fmt: skip
"""What a person who is signed in may ask; his roles decide which of it."""


class As(Inquiry, frozen=True):
    """One request of a person. *credential*: the session of the cookie, or a token of the API."""

    credential: str
    request: PersonRequest
    client_ip: str = ""
    passive: bool = False
    """Asked by a page that is open, not by a person's hand: it does not keep the session alive."""

    def __repr__(self) -> str:
        return f"As({self.request!r}, client_ip={self.client_ip!r})"


Unsigned = SignIn | Redeem | BeginOidc | EndOidc | SignInWays | OfficerWords | OfficerItem | OfficerAsk | OfficerObject | OfficerAnswer
"""What somebody may ask who is not signed in."""
