"""What a program may send to the API: every body and every query, typed and bounded; a field that is not known is refused.

What it is: pydantic models.
Who calls it: ``api_held`` and ``api_records``.
Must never: take a field that nobody named; take a text of any length.
Sources: hostile-inputs catalogue W03, W12; OpenAPI 3.1; inquiries.py and review.py, which these become.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.review import Filter

Id = Annotated[str, StringConstraints(max_length=64)]
Line = Annotated[str, StringConstraints(max_length=320)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
State = Literal["held", "requested", "approved", "released", "refused", "expired"]
Marking = Literal["TOP SECRET", "SECRET", "CONFIDENTIAL", "RESTRICTED", "UNCLASSIFIED"]
Moment = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
Names = Annotated[list[Line], Field(max_length=50)]


class Body(BaseModel):
    """The root of what is sent."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)


class Rows(BaseModel):
    """A page of records."""

    rows: list[dict[str, Any]]
    next: str | None = Field(
        None, description="What to send as `before` (of the register: `after`) for the following page; null: it was the last."
    )


class Said(BaseModel):
    """What was done."""

    message: str = Field("", examples=["approved 1 of 2"])


class Error(BaseModel):
    """Why it was not done, in one plain sentence."""

    error: str = Field(examples=["Your role does not permit this."])


# --- held mail --------------------------------------------------------------------------------------------------------


class FilterBody(Body):
    """Which held mail: all that is given has to fit."""

    states: list[State] = Field([], max_length=6, description="None: the open ones (held, requested, approved).")
    levels: list[Marking | Literal["none"]] = Field([], max_length=6)
    rules: Names = []
    departments: Names = []
    words: str = Field(
        "", max_length=200, description="Reference, addresses, rule, department, words of the subject; every word has to be there."
    )
    since: Moment = Field(0, description="Held at or after this, in seconds since 1970.")
    until: Moment = Field(0, description="Held before this.")
    sealed: bool | None = None
    assigned: str = Field("", max_length=64, description="A person's name, or `me`.")
    due: Moment = Field(0, description="The deadline is before this; below 1e9: within so many seconds from now.")

    def filter(self) -> Filter:
        """As the keeper is asked."""
        return Filter(
            tuple(self.states), tuple(self.levels), tuple(self.rules), tuple(self.departments), self.words, self.since, self.until,
            self.sealed, self.assigned, self.due,
        )  # fmt: skip


class HeldQuery(FilterBody):
    """A page of held mail, the newest first."""

    limit: int = Field(50, ge=1, le=200)
    before: Id = Field("", description="`next` of the page before.")
    changed_since: Moment = Field(0, description="Only what changed after this, also what is no longer open.")


class PageQuery(Body):
    """One page of a document as a picture."""

    part: int = Field(ge=0, le=100_000, description="The place of the part in `leaves` of the record, from 0.")
    page: int = Field(1, ge=1, le=100_000)


class DownloadBody(Body):
    """Taking content out; recorded with the reason."""

    part: int | None = Field(
        None, ge=0, le=100_000, description="The place of the part in `leaves` of the record, from 0; null: the whole message."
    )
    reason: Reason


class ReleaseBody(Body):
    """A release, or the first of two."""

    recipients: Annotated[list[Line], Field(min_length=1, max_length=1000)] = Field(examples=[["desk@finance.gov.in"]])
    reason: Reason = Field(examples=["The sender confirmed it by telephone; the annex is public."])


class ReasonBody(Body):
    """An act with its reason."""

    reason: Reason


class AskBody(Body):
    """A question to the sender."""

    text: Reason = Field(examples=["Is the annex meant for the court?"])


class LevelBody(Body):
    """The level that a person finds right."""

    level: Marking
    reason: Reason


class ForwardBody(Body):
    """To a colleague."""

    to: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    note: Reason


class AgainBody(Body):
    """What today's rules say; with *apply* those whom nothing holds any more are released."""

    apply: bool = False
    reason: str = Field("", max_length=1000, description="Needed with `apply`.")


class ViewBody(Body):
    """A saved view."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=60)] = Field(examples=["Due tomorrow"])
    filter: FilterBody = Field(examples=[{"levels": ["CONFIDENTIAL"], "due": 86400}])


# --- figures, log, register, people -----------------------------------------------------------------------------------


class PeriodQuery(Body):
    """A period of the figures."""

    since: Moment = Field(description="Seconds since 1970.")
    until: Moment = Field(description="Seconds since 1970.")
    department: str = Field("", max_length=253, description="Empty: all whose figures you may see.")


class LogQuery(Body):
    """A page of the decision log, the newest row first."""

    text: Line = Field("", description="Looked for anywhere in the record.")
    sender: Line = ""
    recipient: Line = ""
    rule: Line = ""
    since: Moment = 0
    until: Moment = 0
    limit: int = Field(100, ge=1, le=1000)
    before: int = Field(0, ge=0, le=2**60, description="`next` of the page before.")


class LogFileBody(Body):
    """Rows of the decision log as a file; recorded."""

    format: Literal["csv", "jsonl"]
    text: Line = ""
    sender: Line = ""
    recipient: Line = ""
    rule: Line = ""
    since: str = Field("", max_length=10, description="A day of India's clock.", examples=["2026-11-01"])
    until: str = Field("", max_length=10, description="The last day.", examples=["2026-11-30"])


class LanguageQuery(Body):
    """In which language explanations are given."""

    language: str = Field("en", max_length=16)


class RegisterQuery(Body):
    """A page of the register, in the order of its entries."""

    all: bool = Field(False, description="Also what has ended.")
    limit: int = Field(100, ge=1, le=1000)
    after: Id = Field("", description="`next` of the page before.")


class ExceptionBody(Body):
    """An entry of the register; whoever asks is its requester."""

    sender: Annotated[str, StringConstraints(min_length=1, max_length=1000)] = Field(examples=["@dept.gov.in"])
    recipient: Annotated[str, StringConstraints(min_length=1, max_length=1000)] = Field(examples=["registry@court.gov.in"])
    reason: Reason = Field(examples=["Monthly filing"])
    approver: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="Another person, a second approver of the department."
    )
    expires: Moment = Field(description="Seconds since 1970.", examples=[1798741800])


Grants = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=320)]], Field(max_length=50)]


class PersonBody(Body):
    """A new person."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    email: Line = ""
    department: str = Field("", max_length=253)
    grants: Annotated[Grants, Field(min_length=1)] = Field(examples=[["reviewer@home.gov.in"]])


class PersonChanges(Body):
    """What changes of a person; what is missing or null stays."""

    email: Line | None = None
    department: Annotated[str, StringConstraints(max_length=253)] | None = None
    grants: Grants | None = None
    disabled: bool | None = None
