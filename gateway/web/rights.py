"""Which route needs what: one row a route, and no route without a row.

What it is: ``ROUTES``, from method and path to the act of ``roles`` that it needs, or to one of the words below.
Who calls it: ``door``, which refuses whatever has no row; the tests, which try every row with every role.
Must never: have a row whose route changes something on GET; stand in for the keeper, which asks the same again of every request.
Sources: hostile-inputs catalogue W03, W05, W16.
"""

from __future__ import annotations

from typing import Final, Literal

from gateway.roles import Act

OPEN: Final = "open"
"""Needs no session: signing in, machines, what every page loads."""
SIGNED_IN: Final = "signed-in"
"""Any person, whatever his roles."""
OFFICER: Final = "officer"
"""Needs the signed link of a report, or the session of an officer."""
Need = Act | Literal["open", "signed-in", "officer"]

ROUTES: dict[tuple[str, str], Need] = {
    # machines
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/metrics"): OPEN,
    ("GET", "/static/{name}"): OPEN,
    # signing in
    ("GET", "/login"): OPEN,
    ("POST", "/login"): OPEN,
    ("POST", "/login/one-time"): OPEN,
    ("GET", "/login/oidc"): OPEN,
    ("GET", "/login/oidc/callback"): OPEN,
    ("POST", "/logout"): SIGNED_IN,
    # one's own account
    ("GET", "/account"): SIGNED_IN,
    ("POST", "/account/password"): SIGNED_IN,
    ("POST", "/account/totp"): SIGNED_IN,
    ("POST", "/account/totp/confirm"): SIGNED_IN,
    ("POST", "/account/language"): SIGNED_IN,
    ("POST", "/account/tokens"): SIGNED_IN,
    ("POST", "/account/tokens/{id}/drop"): SIGNED_IN,
    # the queue
    ("GET", "/"): Act.LIST,
    ("GET", "/changes"): Act.LIST,
    ("POST", "/views"): Act.LIST,
    ("POST", "/views/{id}/drop"): Act.LIST,
    ("POST", "/batch"): Act.LIST,
    ("GET", "/batch/{id}"): Act.LIST,
    # one item
    ("GET", "/held/{id}"): Act.LIST,
    ("GET", "/held/{id}/content"): Act.CONTENT,
    ("GET", "/held/{id}/page"): Act.CONTENT,
    ("POST", "/held/{id}/download"): Act.CONTENT,
    ("POST", "/held/{id}/release"): Act.LIST,
    ("POST", "/held/{id}/refuse"): Act.DECIDE,
    ("POST", "/held/{id}/ask"): Act.DECIDE,
    ("POST", "/held/{id}/level"): Act.LIST,
    ("POST", "/held/{id}/forward"): Act.DECIDE,
    ("POST", "/held/{id}/again"): Act.DECIDE,
    ("POST", "/held/{id}/exception"): Act.EXCEPT,
    # the officer
    ("GET", "/officer"): OPEN,
    ("POST", "/officer"): OPEN,
    ("GET", "/officer/{token}"): OFFICER,
    ("POST", "/officer/{token}/request"): OFFICER,
    ("POST", "/officer/{token}/object"): OFFICER,
    ("POST", "/officer/{token}/answer"): OFFICER,
    # figures, log, rules, register, people
    ("GET", "/dashboard"): Act.FIGURES,
    ("GET", "/audit"): Act.AUDIT,
    ("GET", "/audit/{reference}"): Act.AUDIT,
    ("POST", "/audit/export"): Act.AUDIT,
    ("GET", "/rules"): SIGNED_IN,
    ("GET", "/exceptions"): Act.EXCEPT,
    ("POST", "/exceptions"): Act.EXCEPT,
    ("POST", "/exceptions/{id}/expire"): Act.EXCEPT,
    ("GET", "/users"): Act.USERS,
    ("POST", "/users"): Act.USERS,
    ("POST", "/users/{name}"): Act.USERS,
    ("POST", "/users/{name}/invite"): Act.USERS,
    # the API: a token, never a cookie
    ("GET", "/api/v1/openapi.json"): SIGNED_IN,
    ("GET", "/api/v1/me"): SIGNED_IN,
    ("GET", "/api/v1/held"): Act.LIST,
    ("GET", "/api/v1/held/counts"): Act.LIST,
    ("GET", "/api/v1/held/{id}"): Act.LIST,
    ("GET", "/api/v1/held/{id}/content"): Act.CONTENT,
    ("GET", "/api/v1/held/{id}/page"): Act.CONTENT,
    ("POST", "/api/v1/held/{id}/download"): Act.CONTENT,
    ("POST", "/api/v1/held/{id}/release"): Act.LIST,
    ("POST", "/api/v1/held/{id}/refuse"): Act.DECIDE,
    ("POST", "/api/v1/held/{id}/ask"): Act.DECIDE,
    ("POST", "/api/v1/held/{id}/level"): Act.LIST,
    ("POST", "/api/v1/held/{id}/forward"): Act.DECIDE,
    ("GET", "/api/v1/held/{id}/colleagues"): Act.LIST,
    ("POST", "/api/v1/held/{id}/again"): Act.DECIDE,
    ("GET", "/api/v1/views"): Act.LIST,
    ("PUT", "/api/v1/views"): Act.LIST,
    ("DELETE", "/api/v1/views/{id}"): Act.LIST,
    ("GET", "/api/v1/dashboard"): Act.FIGURES,
    ("GET", "/api/v1/audit"): Act.AUDIT,
    ("GET", "/api/v1/audit/{reference}"): Act.AUDIT,
    ("POST", "/api/v1/audit/export"): Act.AUDIT,
    ("GET", "/api/v1/rules"): SIGNED_IN,
    ("GET", "/api/v1/exceptions"): Act.EXCEPT,
    ("POST", "/api/v1/exceptions"): Act.EXCEPT,
    ("POST", "/api/v1/exceptions/{id}/expire"): Act.EXCEPT,
    ("GET", "/api/v1/users"): Act.USERS,
    ("POST", "/api/v1/users"): Act.USERS,
    ("PATCH", "/api/v1/users/{name}"): Act.USERS,
    ("POST", "/api/v1/users/{name}/invite"): Act.USERS,
}
