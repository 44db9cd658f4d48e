"""Signing in with OpenID Connect: the authorization code flow with PKCE, and what has to be true of an ID token.

What it is: ``OidcProvider``: where to send the browser, and who came back from there.
Who calls it: ``keeper.entrance``, which makes one where the config names a provider; ``keeper.entry``.
Must never: take an ID token that is unsigned, signed in another way than with RS256, PS256 or ES256, by another key, for somebody
else, for another sign-in, or past its time; speak without TLS but to this machine; follow a redirect; read an answer without end.
Sources: OpenID Connect Core 1.0 sections 3.1.2, 3.1.3.7 and 5.3.2, Discovery 1.0 section 4.3; RFC 6749 sections 2.3.1 and 4.1; RFC 7636
(S256); RFC 9700 (current practice); RFC 8725 (algorithms); hostile-inputs catalogue W17.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway import logs
from gateway.config import Oidc, is_loopback
from gateway.signin.identity import Identity, OidcError

ALGORITHMS = ("RS256", "PS256", "ES256")
_ANSWER = 256 * 1024
"""Octets of one answer of the provider."""
_PATIENCE = httpx.Timeout(10.0, connect=5.0)
_WHOLE = 20.0
"""Seconds for one answer, however slowly it comes."""
_FLOW = 600.0
"""Seconds from the button to the way back."""
_FLOWS = 1000
"""Sign-ins under way; one more ends the oldest."""
_KNOWN = 3600.0
"""Seconds after which discovery document and keys are fetched anew."""
_ANEW = 60.0
"""Seconds between two fetches of the keys for a key that is not among them."""
_SKEW = 60
"""Seconds that the provider's clock may differ."""
_log = logs.get("access")


_AWAY = "the sign-in provider cannot be asked at present; please try again later"


@dataclass(frozen=True, slots=True)
class _Flow:
    """One sign-in under way."""

    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    began: float


@dataclass(frozen=True, slots=True)
class _Endpoints:
    """What the discovery document says, checked."""

    authorize: str
    token: str
    jwks: str
    userinfo: str
    basic: bool
    """The client's secret goes into the Authorization header."""
    fetched: float


class OidcProvider:
    """One OpenID provider. *secret* is the client's, empty for a client without one; *transport* is for tests."""

    def __init__(
        self, options: Oidc, redirect_uri: str, secret: str, *, monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time, transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._options = options
        self._redirect_uri = redirect_uri
        self._secret = secret
        self._monotonic = monotonic
        self._clock = clock
        self._transport = transport
        self._flows: OrderedDict[str, _Flow] = OrderedDict()
        self._endpoints: _Endpoints | None = None
        self._keys: tuple[KeySet, float] | None = None
        self._fetching = asyncio.Lock()

    # --- the two halves of a sign-in ----------------------------------------------------------------------------------

    async def begin(self) -> tuple[str, str]:
        """Where the browser is to go, and the state that it keeps. Raises OidcError."""
        endpoints = await self._discovered()
        now = self._monotonic()
        while self._flows and (len(self._flows) >= _FLOWS or now - next(iter(self._flows.values())).began >= _FLOW):
            self._flows.popitem(last=False)
        state = secrets.token_urlsafe(32)
        flow = _Flow(secrets.token_urlsafe(32), secrets.token_urlsafe(48), now)
        self._flows[state] = flow
        url = prepare_grant_uri(
            endpoints.authorize, self._options.client_id, "code", self._redirect_uri, list(self._options.scopes), state,
            nonce=flow.nonce, code_challenge=create_s256_code_challenge(flow.verifier), code_challenge_method="S256",
        )  # fmt: skip
        return str(url), state

    async def end(self, code: str, state: str) -> Identity:
        """Who came back with *code*; *state* is what this browser kept, and is good once. Raises OidcError."""
        flow = self._flows.pop(state, None)
        if flow is None or self._monotonic() - flow.began >= _FLOW:
            raise OidcError("state", "this sign-in was used already or took too long; please begin again")
        if not 0 < len(code) <= 4096:
            raise OidcError("code")
        endpoints = await self._discovered()
        answer = await self._exchange(endpoints, code, flow)
        token = answer.get("id_token")
        if not isinstance(token, str) or len(token) > 64 * 1024:
            raise OidcError("no-id-token")
        claims = await self._claims(endpoints, token, flow)
        subject = claims["sub"]
        wanted = self._options.claim
        if wanted not in claims and endpoints.userinfo and isinstance(answer.get("access_token"), str):
            more = await self._json("GET", endpoints.userinfo, "userinfo", headers={"Authorization": f"Bearer {answer['access_token']}"})
            if more.get("sub") != subject:
                raise OidcError("userinfo-subject")
            claims = {**more, **claims}
        return Identity(
            f"{self._options.issuer} {subject}", _text(claims.get("email")), claims.get("email_verified") is True,
            _text(claims.get("preferred_username")),
        )  # fmt: skip

    async def _exchange(self, endpoints: _Endpoints, code: str, flow: _Flow) -> Mapping[str, Any]:
        data = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect_uri, "code_verifier": flow.verifier,
            "client_id": self._options.client_id,
        }  # fmt: skip
        headers = {}
        if self._secret and endpoints.basic:
            pair = f"{quote(self._options.client_id, safe='')}:{quote(self._secret, safe='')}"  # RFC 6749 section 2.3.1
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
        elif self._secret:
            data["client_secret"] = self._secret
        return await self._json("POST", endpoints.token, "token", data=data, headers=headers)

    # --- the ID token -------------------------------------------------------------------------------------------------

    async def _claims(self, endpoints: _Endpoints, token: str, flow: _Flow) -> dict[str, Any]:
        """The claims of *token*, when all of them are right. Raises OidcError."""
        try:
            decoded = jwt.decode(token, await self._key_set(endpoints), algorithms=list(ALGORITHMS))
        except (JoseError, ValueError, TypeError, KeyError):
            # Perhaps the provider has new keys.
            try:
                decoded = jwt.decode(token, await self._key_set(endpoints, anew=True), algorithms=list(ALGORITHMS))
            except (JoseError, ValueError, TypeError, KeyError) as error:
                _log.warning("an ID token was refused", **{"error.type": type(error).__name__})
                raise OidcError("signature") from None
        claims = decoded.claims
        try:
            jwt.JWTClaimsRegistry(
                now=lambda: int(self._clock()), leeway=_SKEW, iss={"essential": True, "value": self._options.issuer},
                aud={"essential": True, "value": self._options.client_id}, exp={"essential": True}, iat={"essential": True},
                sub={"essential": True}, nonce={"essential": True, "value": flow.nonce},
            ).validate(claims)  # fmt: skip
        except JoseError as error:
            _log.warning("an ID token was refused", **{"error.type": type(error).__name__})
            raise OidcError("claims") from None
        subject, audience, party = claims["sub"], claims["aud"], claims.get("azp")
        if not isinstance(subject, str) or not 0 < len(subject) <= 255 or not subject.isprintable():
            raise OidcError("subject")
        if not isinstance(claims["nonce"], str) or not hmac.compare_digest(claims["nonce"].encode(), flow.nonce.encode()):
            raise OidcError("nonce")
        if party is not None and party != self._options.client_id:
            raise OidcError("azp")
        if isinstance(audience, list) and len(audience) > 1 and party is None:
            raise OidcError("azp")
        if claims["iat"] < self._clock() - _FLOW - _SKEW:
            raise OidcError("iat")
        return dict(claims)

    async def _key_set(self, endpoints: _Endpoints, *, anew: bool = False) -> KeySet:
        async with self._fetching:
            now = self._monotonic()
            if self._keys is not None and now - self._keys[1] < (_ANEW if anew else _KNOWN):
                return self._keys[0]
            found = await self._json("GET", endpoints.jwks, "keys")
            try:
                # Keys for signatures only; a symmetric one has no business here.
                usable = [key for key in found["keys"] if key.get("kty") in ("RSA", "EC") and key.get("use", "sig") == "sig"]
                keys = KeySet.import_key_set({"keys": usable})
            except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise OidcError("keys", _AWAY) from error
            self._keys = (keys, now)
            return keys

    # --- asking the provider ------------------------------------------------------------------------------------------

    async def _discovered(self) -> _Endpoints:
        now = self._monotonic()
        if self._endpoints is not None and now - self._endpoints.fetched < _KNOWN:
            return self._endpoints
        issuer = self._options.issuer
        found = await self._json("GET", issuer.rstrip("/") + "/.well-known/openid-configuration", "discovery")
        if found.get("issuer") != issuer:
            _log.error("the OpenID provider names itself in another way than oidc.issuer does")
            raise OidcError("issuer", _AWAY)
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        self._endpoints = _Endpoints(
            _address(found.get("authorization_endpoint")), _address(found.get("token_endpoint")), _address(found.get("jwks_uri")),
            _address(found["userinfo_endpoint"]) if found.get("userinfo_endpoint") else "",
            isinstance(methods, list) and "client_secret_basic" in methods, now,
        )  # fmt: skip
        return self._endpoints

    async def _json(self, method: str, url: str, what: str, **sent: Any) -> Mapping[str, Any]:
        """The JSON object at *url*. Raises OidcError."""
        try:
            async with asyncio.timeout(_WHOLE):
                status, octets = await self._fetch(method, url, sent)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            _log.error("the OpenID provider cannot be asked", what=what, **{"error.type": type(error).__name__})
            raise OidcError(f"{what}-away", _AWAY) from None
        if status != 200:
            _log.warning("the OpenID provider refused", what=what, status=status)
            raise OidcError(f"{what}-{status}") from None
        try:
            found = json.loads(octets)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise OidcError(f"{what}-unreadable")
        return found

    async def _fetch(self, method: str, url: str, sent: dict[str, Any]) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **sent.pop("headers", {})}
        async with (
            httpx.AsyncClient(timeout=_PATIENCE, follow_redirects=False, trust_env=False, transport=self._transport) as client,
            client.stream(method, url, headers=headers, **sent) as response,
        ):
            octets = bytearray()
            async for piece in response.aiter_raw():
                octets += piece
                if len(octets) > _ANSWER:
                    raise httpx.DecodingError("the answer is too long")
            return response.status_code, bytes(octets)


def _address(value: object) -> str:
    """An endpoint: https, or this machine. Raises OidcError."""
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        here = parts.scheme == "http" and is_loopback(parts.netloc if parts.port else f"{parts.netloc}:80")
    except ValueError:
        raise OidcError("endpoint", _AWAY) from None
    if not parts.netloc or "@" in parts.netloc or not (parts.scheme == "https" or here):
        _log.error("the OpenID provider names an endpoint that is not https")
        raise OidcError("endpoint", _AWAY)
    return text


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= 320 and value.isprintable() else ""
