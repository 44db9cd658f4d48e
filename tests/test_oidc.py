"""OpenID Connect against a real provider on this machine, and against one that lies."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from gateway.config import Config, ConfigError, Oidc, Web, load
from gateway.keeper.entrance import Entrance
from gateway.review import BeginOidc, ChangeUser, EndOidc, FindHeld, InviteUser, SignInWays
from gateway.signin.identity import OidcError
from gateway.signin.oidc import OidcProvider
from tests.people_kit import IP, Clocks, Way

ISSUER = "https://login.example.gov.in"
BACK = "https://gw.example.gov.in/login/oidc/callback"
RSA = RSAKey.generate_key(2048, {"kid": "r1", "use": "sig"})
OTHER = RSAKey.generate_key(2048, {"kid": "r1", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "e1", "use": "sig"})


# --- a real provider --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """A provider that runs on this machine, with two accounts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mock = pytest.importorskip("oidc_provider_mock")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    users = [
        mock.User(sub="sub-asha", claims={"email": "Asha@Dept.gov.in", "email_verified": True, "preferred_username": "asha"}),
        mock.User(sub="sub-new", claims={"email": "asha@dept.gov.in", "email_verified": True}),
        mock.User(sub="sub-liar", claims={"email": "asha@dept.gov.in", "email_verified": False}),
        mock.User(sub="sub-stranger", claims={"email": "stranger@else.example", "email_verified": True}),
        mock.User(sub="sub-bina", claims={"email": "bina@dept.gov.in", "email_verified": True, "preferred_username": "bina"}),
    ]
    with mock.run_server_in_thread(require_nonce=True, user_claims=users) as server:
        yield f"http://localhost:{server.server_port}"


def with_provider(folder: Path, issuer: str, **options: Any) -> Way:
    secret = folder / "client-secret"
    secret.touch(mode=0o600)
    secret.write_text("s3cret\n")
    oidc = Oidc(issuer=issuer, client_id="gateway", client_secret_file=secret, name="Parichay", **options)
    return Way(folder, oidc=oidc, web=Web(public_url="http://127.0.0.1:18080"))


async def through(way: Way, subject: str) -> tuple[str, str, str]:
    """The provider's page, signed in as *subject*: the code, the state that came back, and the state that the browser kept."""
    (begun,) = (await way.web(BeginOidc())).rows
    async with httpx.AsyncClient() as browser:
        answer = await browser.post(begun["url"], data={"sub": subject})
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["location"])
    assert f"{back.scheme}://{back.netloc}{back.path}" == "http://127.0.0.1:18080/login/oidc/callback"
    query = parse_qs(back.query)
    return query["code"][0], query["state"][0], begun["state"]


async def test_a_person_signs_in_at_a_real_provider(tmp_path: Path, issuer: str) -> None:
    async with with_provider(tmp_path, issuer) as way:
        await way.add("asha", "reviewer", email="asha@dept.gov.in")
        assert (await way.web(SignInWays())).rows[0]["oidc"] == "Parichay"
        code, state, kept = await through(way, "sub-asha")
        assert state == kept
        session = await way.session(EndOidc(code, kept, IP))
        who = await way.who(session)
        assert (who["name"], who["fresh"], who["totp"]) == ("asha", False, False)
        assert "set up" not in str(await way.refused(FindHeld(), session)), "the provider's sign-in counts as two factors"
        row = await way.store.reviewing.credentials("asha")
        assert row is not None
        assert row.subject == f"{issuer} sub-asha"
        (said,) = await way.said("login-accepted")
        assert said["event"]["reason"] == "oidc"
        # A state, and with it a code, is good once.
        assert (await way.refused(EndOidc(code, kept, IP))).code == 1
        # Found by the subject from now on: the address may change, here or there.
        await way.root(ChangeUser("asha", email="asha.verma@dept.gov.in"))
        code, _, kept = await through(way, "sub-asha")
        assert (await way.who(await way.session(EndOidc(code, kept, IP))))["name"] == "asha"


async def test_who_is_not_let_in(tmp_path: Path, issuer: str) -> None:
    async with with_provider(tmp_path, issuer) as way:
        await way.add("asha", "reviewer", email="asha@dept.gov.in")
        await way.add("bina", "reviewer", email="bina@dept.gov.in")
        for subject in ("sub-liar", "sub-stranger"):
            code, _, kept = await through(way, subject)
            assert "nobody here" in str(await way.refused(EndOidc(code, kept, IP))), subject
        code, _, kept = await through(way, "sub-asha")
        await way.session(EndOidc(code, kept, IP))
        code, _, kept = await through(way, "sub-new")
        assert "nobody here" in str(await way.refused(EndOidc(code, kept, IP))), "the address went to another account: it is not the person"
        code, _, kept = await through(way, "sub-bina")
        await way.root(ChangeUser("bina", disabled=True))
        await way.refused(EndOidc(code, kept, IP))
        row = await way.store.reviewing.credentials("bina")
        assert row is None or not row.subject
        await way.root(InviteUser("asha"))
        code, _, kept = await through(way, "sub-new")
        assert (await way.who(await way.session(EndOidc(code, kept, IP))))["name"] == "asha", "an invitation begins anew"


async def test_a_person_is_found_by_the_name_where_the_config_says_so(tmp_path: Path, issuer: str) -> None:
    async with with_provider(tmp_path, issuer, claim="preferred_username") as way:
        await way.add("bina", "reviewer")
        code, _, kept = await through(way, "sub-bina")
        assert (await way.who(await way.session(EndOidc(code, kept, IP))))["name"] == "bina"
        code, _, kept = await through(way, "sub-stranger")
        await way.refused(EndOidc(code, kept, IP))


async def test_the_code_and_the_state_of_two_browsers_do_not_mix(tmp_path: Path, issuer: str) -> None:
    async with with_provider(tmp_path, issuer) as way:
        await way.add("asha", "reviewer", email="asha@dept.gov.in")
        code, _, _ = await through(way, "sub-asha")
        _, _, kept = await through(way, "sub-bina")
        error = await way.refused(EndOidc(code, kept, IP))
        assert error.code == 1


# --- a provider that lies ---------------------------------------------------------------------------------------------


class Forger:
    """A provider behind a transport; *change* may change claims, header and key of the token."""

    def __init__(self, clocks: Clocks) -> None:
        self.clocks = clocks
        self.keys: list[Any] = [RSA, EC]
        self.claims: dict[str, Any] = {}
        self.without: tuple[str, ...] = ()
        self.alg = "RS256"
        self.key: Any = RSA
        self.raw: Callable[[str], str] = lambda token: token
        self.document: dict[str, Any] = {}
        self.nonce = self.challenge = ""
        self.asked: list[str] = []
        self.tokens: list[dict[str, list[str]]] = []
        self.answers: dict[str, Callable[[], httpx.Response]] = {}
        self.basic = ""
        self.userinfo: dict[str, Any] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]()
        if path == "/.well-known/openid-configuration":
            return httpx.Response(200, json={
                "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/auth", "token_endpoint": f"{ISSUER}/token",
                "jwks_uri": f"{ISSUER}/keys", "userinfo_endpoint": f"{ISSUER}/me",
            } | self.document)  # fmt: skip
        if path == "/keys":
            return httpx.Response(200, json=KeySet(self.keys).as_dict(private=False))
        if path == "/me":
            return httpx.Response(200, json=self.userinfo)
        form = parse_qs(request.content.decode())
        self.tokens.append(form)
        self.basic = request.headers.get("authorization", "")
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != self.challenge or form["redirect_uri"] != [BACK]:
            return httpx.Response(400, json={"error": "invalid_grant"})
        return httpx.Response(200, json={"access_token": "at", "token_type": "Bearer", "id_token": self.raw(self.token())})

    def token(self) -> str:
        now = int(self.clocks.wall)
        claims = {
            "iss": ISSUER, "sub": "s-1", "aud": "gateway", "exp": now + 300, "iat": now, "nonce": self.nonce, "email": "a@b.gov.in",
            "email_verified": True,
        } | self.claims  # fmt: skip
        claims = {name: value for name, value in claims.items() if name not in self.without}
        return jwt.encode({"alg": self.alg, "kid": self.key.kid}, claims, self.key, algorithms=[self.alg])

    def visited(self, url: str) -> None:
        """Somebody went to the provider's page."""
        query = parse_qs(urlsplit(url).query)
        assert query["code_challenge_method"] == ["S256"]
        assert query["response_type"] == ["code"]
        assert query["scope"] == ["openid email profile"]
        self.nonce, self.challenge = query["nonce"][0], query["code_challenge"][0]


class Wire(httpx.AsyncBaseTransport):
    """Brings requests to a forger, and its answers in pieces, as a connection does."""

    def __init__(self, forger: Forger) -> None:
        self._forger = forger

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        answer = self._forger(request)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=Pieces(answer.content))


class Pieces(httpx.AsyncByteStream):
    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._octets), 50_000):
            yield self._octets[start : start + 50_000]


def make(**options: Any) -> tuple[OidcProvider, Forger]:
    clocks = Clocks()
    forger = Forger(clocks)
    wanted = Oidc(issuer=ISSUER, client_id="gateway", **options)
    provider = OidcProvider(
        wanted, BACK, "s3 cret", monotonic=clocks.monotonic, clock=clocks.time, transport=Wire(forger)
    )  # fmt: skip
    return provider, forger


async def sign_in(provider: OidcProvider, forger: Forger) -> Any:
    url, state = await provider.begin()
    forger.visited(url)
    return await provider.end("the-code", state)


async def test_what_is_asked_and_what_comes_of_it() -> None:
    provider, forger = make()
    found = await sign_in(provider, forger)
    assert (found.subject, found.email, found.email_verified) == (f"{ISSUER} s-1", "a@b.gov.in", True)
    assert forger.basic == "Basic " + base64.b64encode(b"gateway:s3%20cret").decode()
    assert "client_secret" not in forger.tokens[0]
    assert await sign_in(provider, forger)
    assert forger.asked.count("/keys") == forger.asked.count("/.well-known/openid-configuration") == 1, "kept for an hour"
    forger.clocks.advance(3600)
    await sign_in(provider, forger)
    assert forger.asked.count("/keys") == 2
    first, second = (await provider.begin())[0], (await provider.begin())[0]
    for name in ("state", "nonce", "code_challenge"):
        assert parse_qs(urlsplit(first).query)[name] != parse_qs(urlsplit(second).query)[name]


@pytest.mark.parametrize(("alg", "key"), [("RS256", RSA), ("PS256", RSA), ("ES256", EC)])
async def test_the_algorithms_that_are_taken(alg: str, key: Any) -> None:
    provider, forger = make()
    forger.alg, forger.key = alg, key
    assert await sign_in(provider, forger)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"}, {"iss": ISSUER + "/"}, {"iss": [ISSUER]}, {"aud": "another-client"}, {"aud": []},
        {"aud": ["gateway", "another"]}, {"aud": ["gateway", "another"], "azp": "another"}, {"azp": "another"}, {"nonce": "another"},
        {"nonce": ""}, {"nonce": ["x"]}, {"exp": 1_789_999_000}, {"exp": "never"}, {"iat": 1_790_009_000}, {"iat": 1_789_990_000},
        {"iat": "now"}, {"nbf": 1_790_009_000}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 300}, {"sub": "a\nb"}, {"aud": {"gateway": 1}},
    ],
)  # fmt: skip
async def test_W17_a_token_for_another_time_place_or_person(claims: dict[str, Any]) -> None:
    provider, forger = make()
    forger.claims = claims
    with pytest.raises(OidcError):
        await sign_in(provider, forger)


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "iat", "nonce"])
async def test_W17_a_token_without_what_it_needs(name: str) -> None:
    provider, forger = make()
    forger.without = (name,)
    with pytest.raises(OidcError):
        await sign_in(provider, forger)


async def test_a_token_for_two_with_our_name_as_its_party_is_taken() -> None:
    provider, forger = make()
    forger.claims = {"aud": ["gateway", "another"], "azp": "gateway"}
    assert await sign_in(provider, forger)


def _none(token: str) -> str:
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    return f"{head}.{token.split('.')[1]}."


def _hmac(token: str) -> str:
    """Signed with the public key as if it were a shared secret."""
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return jwt.encode({"alg": "HS256", "kid": "r1"}, claims, OctKey.import_key(RSA.as_pem(private=False)), algorithms=["HS256"])


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "raw",
    [
        _none, lambda token: _none(token) + token.split(".")[2], lambda token: token[:-8] + "AAAAAAAA", lambda token: "", lambda token: "x",
        lambda token: "..", lambda token: "null", lambda token: token + "." + token, lambda token: "A" * 100_000,
        lambda token: token.split(".")[0] + ".e30." + token.split(".")[2], lambda token: "é.é.é",
    ],
)  # fmt: skip
async def test_W17_a_token_that_nobody_signed(raw: Callable[[str], str]) -> None:
    provider, forger = make()
    forger.raw = raw
    with pytest.raises(OidcError):
        await sign_in(provider, forger)


@pytest.mark.filterwarnings("ignore")
async def test_W17_a_token_signed_with_our_public_key_as_a_secret() -> None:
    provider, forger = make()
    try:
        _hmac(forger.token())
    except ValueError:
        forger.raw = lambda token: "eyJhbGciOiJIUzI1NiIsImtpZCI6InIxIn0." + ".".join(token.split(".")[1:])
    else:
        forger.raw = _hmac
    with pytest.raises(OidcError):
        await sign_in(provider, forger)


async def test_W17_a_token_of_another_key_and_keys_that_were_changed() -> None:
    provider, forger = make()
    forger.key = OTHER
    with pytest.raises(OidcError):
        await sign_in(provider, forger)
    assert forger.asked.count("/keys") == 1, "just fetched: not fetched again for every forged token"
    forger.keys = [OTHER]
    forger.clocks.advance(61)
    assert await sign_in(provider, forger)
    assert forger.asked.count("/keys") == 2


async def test_W17_a_state_is_good_once_and_for_ten_minutes_and_only_with_its_own_code() -> None:
    provider, forger = make()
    url, state = await provider.begin()
    forger.visited(url)
    await provider.end("the-code", state)
    for wrong in (state, "", "x" * 43):
        with pytest.raises(OidcError, match="used already"):
            await provider.end("the-code", wrong)
    _, late = await provider.begin()
    forger.clocks.advance(600)
    with pytest.raises(OidcError, match="too long"):
        await provider.end("the-code", late)
    victim, mine = await provider.begin(), await provider.begin()
    forger.visited(mine[0])  # the code was made for the sign-in of somebody else
    with pytest.raises(OidcError):
        await provider.end("the-code", victim[1])


async def test_sign_ins_under_way_are_bounded() -> None:
    provider, _ = make()
    for _ in range(1100):
        await provider.begin()
    assert len(provider._flows) == 1000


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"}, {"token_endpoint": "http://login.example.gov.in/token"}, {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"}, {"token_endpoint": None}, {"token_endpoint": "https://u:p@login.example/t"},
        {"jwks_uri": 7}, {"authorization_endpoint": ""},
    ],
)  # fmt: skip
async def test_a_discovery_document_that_leads_astray(document: dict[str, Any]) -> None:
    provider, forger = make()
    forger.document = document
    with pytest.raises(OidcError, match="cannot be asked"):
        await provider.begin()


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys"])
@pytest.mark.parametrize(
    "answer",
    [
        lambda: httpx.Response(500), lambda: httpx.Response(302, headers={"location": "http://169.254.169.254/"}),
        lambda: httpx.Response(200, content=b"["), lambda: httpx.Response(200, json=[1]),
        lambda: httpx.Response(200, content=b"[" * 200_000),
        lambda: httpx.Response(200, content=b"{" + b" " * 300_000 + b"}"), lambda: httpx.Response(200, content=b"\xff\xfe"),
        lambda: httpx.Response(200, json={"keys": [{"kty": "oct", "k": "AAAA"}], "id_token": 7}),
    ],
)  # fmt: skip
async def test_answers_that_cannot_be_used(path: str, answer: Callable[[], httpx.Response]) -> None:
    provider, forger = make()
    forger.answers[path] = answer
    with pytest.raises(OidcError):
        await sign_in(provider, forger)


async def test_a_provider_that_is_away() -> None:
    provider, forger = make()

    def away() -> httpx.Response:
        raise httpx.ConnectError("refused")

    forger.answers["/.well-known/openid-configuration"] = away
    with pytest.raises(OidcError, match="cannot be asked at present") as failed:
        await provider.begin()
    assert failed.value.cause == "discovery-away"


async def test_claims_that_the_token_lacks_are_asked_of_userinfo_for_the_same_subject() -> None:
    provider, forger = make()
    forger.without = ("email", "email_verified")
    forger.userinfo = {"sub": "s-1", "email": "c@d.gov.in", "email_verified": True}
    assert (await sign_in(provider, forger)).email == "c@d.gov.in"
    forger.userinfo = {"sub": "s-2", "email": "boss@d.gov.in", "email_verified": True}
    with pytest.raises(OidcError):
        await sign_in(provider, forger)


async def test_a_client_secret_in_the_form_where_the_provider_wants_it_so() -> None:
    provider, forger = make()
    forger.document = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    await sign_in(provider, forger)
    assert forger.basic == ""
    assert forger.tokens[0]["client_secret"] == ["s3 cret"]


# --- the config -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[oidc]\nissuer = "https://x.example"\nclient_id = "g"', "web.public_url"),
        ('[web]\npublic_url = "https://g.example"\n[oidc]\nissuer = "http://x.example"\nclient_id = "g"', "https://"),
        ('[web]\npublic_url = "https://g.example"\n[oidc]\nissuer = "https://x.example"', "client_id"),
        ('[web]\npublic_url = "https://g.example"\n[oidc]\nissuer = "https://x.example"\nclient_id = "g"\nscopes = ["email"]', "openid"),
    ],
)
def test_a_config_that_cannot_work(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(path)


async def test_the_secret_is_a_file_that_not_everybody_may_read(tmp_path: Path) -> None:
    from gateway.vault.vault import VaultError

    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o644)
    oidc = Oidc(issuer=ISSUER, client_id="g", client_secret_file=secret)
    way = Way(tmp_path, oidc=oidc, web=Web(public_url="https://g.example"))
    with pytest.raises(VaultError, match="read by everybody"):
        await way.open()
    secret.chmod(0o600)
    await way.store.close()
    assert isinstance(way.config, Config)
    async with Way(tmp_path, oidc=oidc, web=Web(public_url="https://g.example")) as other:
        assert isinstance(other.entrance, Entrance)
        assert "s3cret" not in repr(other.entrance._entry._provider)
