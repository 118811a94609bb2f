import base64
import json
import time
from urllib.parse import quote

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from jose import jwt

from meterhouse.access.secrets import new_client_id, new_client_secret

from .conftest import AUDIENCE, TOKEN_PATH, list_buckets

AS_JSON = {"Content-Type": "application/json"}


def assert_refused(answer: httpx.Response, status: int, error: str, mentions: str = "") -> None:
    body = answer.json()
    assert (answer.status_code, body["error"]) == (status, error), body
    assert set(body) == {"error", "error_description"}
    assert mentions in body["error_description"]
    assert answer.headers["Cache-Control"] == "no-store"


def basic(client_id: str, secret: str) -> str:
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def test_a_json_request_gets_a_token_for_an_hour(ask, application):
    answer = ask(json=application.asks())
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["access_token", "expires_in", "scope", "token_type"]
    assert (body["expires_in"], body["token_type"]) == (3600, "Bearer")
    assert "read:usage" in body["scope"].split()
    assert "create:meter_types" in body["scope"].split()
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_form_request_gets_a_token(ask, application):
    assert ask(data=application.asks()).json()["token_type"] == "Bearer"


def test_http_basic_with_a_form_or_with_json_gets_a_token(ask, application):
    headers = {"Authorization": basic(application.client_id, application.client_secret)}
    members = application.asks(client_id=None, client_secret=None)
    assert ask(data=members, headers=headers).status_code == 200
    assert ask(json=members, headers=headers).status_code == 200
    assert ask(json=members | {"client_id": application.client_id}, headers=headers).status_code == 200


def test_another_authorization_scheme_is_ignored(ask, application):
    assert ask(json=application.asks(), headers={"Authorization": "Bearer left-over"}).status_code == 200


def test_the_token_opens_the_api(api, application):
    assert list_buckets(api.base_url, application.token(api.base_url)).status_code == 200


def test_the_claims_are_those_of_the_usage_engine(ask, application):
    token = ask(json=application.asks()).json()["access_token"]
    header, claims = jwt.get_unverified_header(token), jwt.get_unverified_claims(token)
    assert set(header) == {"alg", "typ", "kid"}
    assert header["alg"] == "RS256"
    assert abs(claims["iat"] - time.time()) < 10
    assert claims == {
        "accountId": application.account_id,
        "iss": AUDIENCE,
        "sub": f"{application.client_id}@clients",
        "aud": AUDIENCE,
        "iat": claims["iat"],
        "exp": claims["iat"] + 3600,
        "scope": ask(json=application.asks()).json()["scope"],
        "gty": "client-credentials",
        "azp": application.client_id,
    }


def test_the_published_keys_verify_the_token_with_another_library(api, application):
    token = application.token(api.base_url)
    discovery = httpx.get(f"{api.base_url}/.well-known/openid-configuration").json()
    assert discovery["issuer"] == AUDIENCE
    assert discovery["token_endpoint"] == AUDIENCE.rstrip("/") + TOKEN_PATH
    assert discovery["jwks_uri"] == f"{AUDIENCE}.well-known/jwks.json"
    published = httpx.get(f"{api.base_url}/.well-known/jwks.json")
    assert "max-age" in published.headers["Cache-Control"]
    kid = jwt.get_unverified_header(token)["kid"]
    (key,) = [key for key in published.json()["keys"] if key["kid"] == kid]
    assert set(key) == {"alg", "kty", "n", "e", "kid", "use"}
    signed, _, signature = token.rpartition(".")
    number = {name: int.from_bytes(decode(key[name])) for name in ("n", "e")}
    public_key = rsa.RSAPublicNumbers(number["e"], number["n"]).public_key()
    assert public_key.key_size == 2048
    public_key.verify(decode(signature), signed.encode(), padding.PKCS1v15(), SHA256())


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_audience_is_accepted_without_its_trailing_slash(api, application):
    token = application.token(api.base_url, audience=AUDIENCE.rstrip("/"))
    assert jwt.get_unverified_claims(token)["aud"] == AUDIENCE


def test_a_scope_member_narrows_the_token(api, ask, application):
    body = ask(json=application.asks(scope="read:usage send:events read:usage")).json()
    assert body["scope"] == "read:usage send:events"
    headers = {"Authorization": basic(application.client_id, application.client_secret)}
    asked = application.asks(client_id=None, client_secret=None, scope="send:events")
    assert ask(data=asked, headers=headers).json()["scope"] == "send:events"
    assert list_buckets(api.base_url, body["access_token"]).status_code == 403


def test_a_scope_that_is_unknown_or_not_held_is_invalid(ask, make_application):
    reader = make_application("--scopes", "read:usage")
    assert_refused(ask(json=reader.asks(scope="read:usage send:events")), 400, "invalid_scope", "send:events")
    assert_refused(ask(json=reader.asks(scope="fly:planes")), 400, "invalid_scope", "fly:planes")


@pytest.mark.parametrize("member", ["audience", "client_id", "client_secret", "grant_type"])
@pytest.mark.parametrize("how", ["json", "data"])
def test_a_missing_member_is_named(ask, application, member, how):
    assert_refused(ask(**{how: application.asks(**{member: None})}), 400, "invalid_request", member)


@pytest.mark.parametrize("value", [7, ["x"], {"a": 1}, True])
def test_a_member_that_is_no_string_is_named(ask, application, value):
    assert_refused(ask(json=application.asks(client_id=value)), 400, "invalid_request", "client_id")


def test_a_member_given_twice_is_named(ask, application):
    form = httpx.QueryParams([*application.asks().items(), ("audience", AUDIENCE)])
    as_form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_refused(ask(content=str(form), headers=as_form), 400, "invalid_request", "audience")
    twice = '{"audience": "a", "audience": "b"}'
    assert_refused(ask(content=twice, headers=AS_JSON), 400, "invalid_request", "audience")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 20_000, b'{"client_id": "\\ud800"}'])
def test_a_broken_body_is_an_invalid_request(ask, body):
    for content_type in ("application/json", "application/x-www-form-urlencoded"):
        assert_refused(ask(content=body, headers={"Content-Type": content_type}), 400, "invalid_request")


def test_another_content_type_is_an_invalid_request(ask):
    headers = {"Content-Type": "application/xml"}
    assert_refused(ask(content="<a/>", headers=headers), 400, "invalid_request", "Content-Type")


def test_a_body_over_the_limit_is_too_large(ask):
    assert_refused(ask(content=b"a=" + b"x" * 70_000), 413, "invalid_request")


def test_another_grant_type_is_unsupported(ask, application):
    assert_refused(ask(json=application.asks(grant_type="password")), 400, "unsupported_grant_type")


@pytest.mark.parametrize("audience", ["https://elsewhere.test/", "http://meterhouse.test/x", "x"])
def test_another_audience_is_denied(ask, application, audience):
    assert_refused(ask(json=application.asks(audience=audience)), 401, "access_denied")


@pytest.mark.parametrize(
    "secret", [pytest.param(new_client_secret(), id="another"), "wrong", "x" * 60_000, "\x00", "\ud800", "é"]
)
def test_a_wrong_secret_is_denied(ask, application, secret):
    answer = ask(content=json.dumps(application.asks(client_secret=secret)), headers=AS_JSON)
    assert_refused(answer, 401, "access_denied", "Unauthorized")
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("client_id", [pytest.param(new_client_id(), id="another"), "nobody", "\x00", "\ud800", "%00"])
def test_an_unknown_client_is_denied(ask, application, client_id):
    answer = ask(content=json.dumps(application.asks(client_id=client_id)), headers=AS_JSON)
    assert_refused(answer, 401, "access_denied", "Unauthorized")


def test_one_application_has_no_use_for_the_secret_of_another(ask, application, make_application):
    other = make_application()
    assert_refused(ask(json=application.asks(client_secret=other.client_secret)), 401, "access_denied")


def test_an_api_key_gets_no_token(ask, application, make_api_key):
    key = make_api_key()
    wrong = application.asks(client_id=key["apiKeyId"], client_secret=key["apiKey"])
    assert_refused(ask(json=wrong), 401, "access_denied")


@pytest.mark.parametrize("credentials", ["=", "!!", "bm9jb2xvbg==", "/////w=="])
def test_malformed_basic_credentials_are_denied_with_a_challenge(ask, application, credentials):
    members = application.asks(client_id=None, client_secret=None)
    answer = ask(data=members, headers={"Authorization": f"Basic {credentials}"})
    assert_refused(answer, 401, "access_denied")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_a_wrong_basic_secret_is_denied_with_a_challenge(ask, application):
    headers = {"Authorization": basic(application.client_id, new_client_secret())}
    answer = ask(data=application.asks(client_id=None, client_secret=None), headers=headers)
    assert_refused(answer, 401, "access_denied")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_credentials_in_two_places_are_an_invalid_request(ask, application):
    headers = {"Authorization": basic(application.client_id, application.client_secret)}
    assert_refused(ask(data=application.asks(), headers=headers), 400, "invalid_request", "client_secret")
    other = application.asks(client_id=new_client_id(), client_secret=None)
    assert_refused(ask(data=other, headers=headers), 400, "invalid_request", "client_id")
