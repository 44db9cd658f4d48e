"""What ``gateway check`` says of the review page: its address, the OpenID provider, and whether there is anybody to decide.

Who calls it: ``check``.
Must never: change anything; show the provider the client's secret; sign anybody in.
Sources: docs/design.md section 10 ("Web"); OpenID Connect Discovery 1.0 section 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gateway.roles import Act, Grant, may

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.doctor import Finding
    from gateway.stores.base import UserRow


def findings(config: Config, *, offline: bool) -> Iterator[Finding]:
    """One line for each part. *offline*: the provider is not asked."""
    yield from _page(config)
    yield from _provider(config, offline=offline)
    users = _users(config)
    if users is not None:
        yield from people(config, users)


def _page(config: Config) -> Iterator[Finding]:
    """Where the page is, for those who come from elsewhere."""
    from urllib.parse import urlsplit

    from gateway.config import is_loopback
    from gateway.doctor import Finding

    listens, url = any(one.door == "web" for one in config.listen), config.web.public_url
    if url and not listens:
        yield Finding("web", "wrong", f'web.public_url is {url}, but no [[listen]] has door = "web": its links lead nowhere')
    elif listens and not url:
        lacks = "reports carry the reference alone, and mail to reviewers has no link" if _mails(config) else "reports have no link"
        yield Finding("web", "warning", f"web.public_url is absent: {lacks}")
    elif url:
        parts = urlsplit(url)
        at = parts.hostname or ""
        if parts.scheme != "https" and not is_loopback(f"[{at}]:80" if ":" in at else f"{at}:80"):
            yield Finding("web", "wrong", f"web.public_url is {url}: passwords and held mail would go over the network in clear; use https")
        else:
            yield Finding("web", "ok", f"the page is {url}")
    if listens and url.startswith("https:") and not config.web.proxies:
        text = "web.proxies is empty: all who come through the web server before the page count as one client, in limits and in the log"
        yield Finding("web", "warning", text)
    if listens and not config.web.require_totp:
        yield Finding("web", "warning", "web.require_totp = false: a password alone signs in")


def _mails(config: Config) -> bool:
    return bool(config.review.digest or config.review.warn_before)


def _provider(config: Config, *, offline: bool) -> Iterator[Finding]:
    """Whether the secret for the OpenID provider is there, and whether the provider answers as itself."""
    from gateway.doctor import Finding
    from gateway.vault import vault

    wanted = config.oidc
    if not wanted.issuer:
        return
    if wanted.client_secret_file is not None:
        try:
            vault.read_secret(wanted.client_secret_file)
        except vault.VaultError as error:
            yield Finding("oidc", "wrong", str(error))
    if offline:
        return

    import asyncio

    from gateway import logs
    from gateway.signin.identity import OidcError
    from gateway.signin.oidc import OidcProvider

    logs.configure("check")  # what it logs is none of the lines
    back = f"{config.web.public_url.rstrip('/')}/login/oidc/callback"
    provider = OidcProvider(wanted, back, "")
    try:
        asyncio.run(provider.begin())
    except OidcError as error:
        yield Finding("oidc", "wrong", f"{wanted.issuer}: {_CAUSES.get(error.cause, f'the provider cannot be used ({error.cause})')}")
    else:
        yield Finding(
            "oidc", "ok", f"{wanted.issuer} answers; it sends people back to {config.web.public_url.rstrip('/')}/login/oidc/callback"
        )


_CAUSES = {
    "discovery-away": "does not answer, or its certificate does not verify; the keeper has to reach it",
    "discovery-404": "has no /.well-known/openid-configuration: oidc.issuer is another address",
    "issuer": "names itself in another way than oidc.issuer does: write it as its discovery document does, to the last slash",
}


def _users(config: Config) -> list[UserRow] | None:
    """The people of the store; None where there is no store yet, or one that ``check`` speaks of elsewhere."""
    import asyncio

    from gateway.cli import reading
    from gateway.stores.base import StoreError

    async def look() -> list[UserRow] | None:
        async with reading.kept(config) as store:
            return None if store is None else await store.users()

    try:
        return asyncio.run(look())
    except StoreError:
        return None


def people(config: Config, users: Iterable[UserRow]) -> Iterator[Finding]:
    """Whether somebody can decide, somebody else can give the second yes, somebody keeps the roles, and all of them get their mail."""
    from gateway.doctor import Finding

    active = {user.name: (user, [Grant.parse(one) for one in user.grants]) for user in users if not user.disabled}
    first, second, keep = (
        {name for name, (_, grants) in active.items() if may(grants, act)} for act in (Act.DECIDE, Act.APPROVE, Act.USERS)
    )
    two = config.relay.two_people_from
    if not first:
        yield Finding(
            "people", "warning", "nobody has the role reviewer: held mail waits until it comes back; add one with: gateway users add"
        )
    elif two != "never" and not any(second - {name} for name in first):
        yield Finding(
            "people", "warning",
            f"from {two} up a release needs a second person, and nobody but the reviewer has the role second-approver: gateway users roles",
        )  # fmt: skip
    else:
        yield Finding("people", "ok", f"{len(first)} may decide, {len(second)} may give the second yes")
    if active and not keep:
        yield Finding("people", "warning", "nobody has the role administrator: people can be changed on this machine only")
    if _mails(config):
        yield from _reached(config, [user for user, grants in active.values() if may(grants, Act.DECIDE) or may(grants, Act.APPROVE)])


def _reached(config: Config, deciding: Iterable[UserRow]) -> Iterator[Finding]:
    """Who decides and gets no mail about it."""
    from gateway.doctor import Finding
    from gateway.policy import contacts

    unreached = [user.name for user in deciding if contacts.within(user.email, config) is None]
    if unreached:
        names = ", ".join(sorted(unreached))
        yield Finding("people", "warning", f"no mail about held mail goes to {names}: no e-mail address inside the organisation is known")
