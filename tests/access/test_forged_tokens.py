"""Tokens that this server did not sign, or no longer stands for."""

import base64
import hashlib
import hmac
import json

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jose import jwt

from .conftest import list_buckets


def encode(value: bytes | dict) -> str:
    data = json.dumps(value).encode() if isinstance(value, dict) else value
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def assert_unauthorized(answer: httpx.Response) -> None:
    assert answer.status_code == 401, answer.text
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.fixture
def token(api, application) -> str:
    return application.token(api.base_url)


def test_no_credentials_and_other_schemes_are_unauthorized(api):
    url = f"{api.base_url}/v1/metering"
    assert_unauthorized(httpx.get(url))
    for header in ("", "Bearer", "Basic eDp5", "token"):
        assert_unauthorized(httpx.get(url, headers={"Authorization": header}))


def test_a_changed_payload_is_refused(api, token):
    header, _, signature = token.split(".")
    claims = jwt.get_unverified_claims(token) | {"exp": 4_000_000_000}
    assert_unauthorized(list_buckets(api.base_url, f"{header}.{encode(claims)}.{signature}"))


def test_a_changed_signature_is_refused(api, token):
    signed, _, signature = token.rpartition(".")
    assert_unauthorized(list_buckets(api.base_url, f"{signed}.{signature[::-1]}"))
    assert_unauthorized(list_buckets(api.base_url, f"{signed}."))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None])
def test_an_unsigned_token_is_refused(api, token, algorithm):
    header = jwt.get_unverified_header(token) | {"alg": algorithm}
    unsigned = f"{encode(header)}.{token.split('.')[1]}"
    assert_unauthorized(list_buckets(api.base_url, f"{unsigned}."))
    assert_unauthorized(list_buckets(api.base_url, f"{unsigned}.{token.split('.')[2]}"))


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_token_signed_with_the_public_key_as_a_password_is_refused(api, token, algorithm):
    header = jwt.get_unverified_header(token)
    (key,) = [k for k in httpx.get(f"{api.base_url}/.well-known/jwks.json").json()["keys"] if k["kid"] == header["kid"]]
    number = {name: int.from_bytes(base64.urlsafe_b64decode(key[name] + "==")) for name in ("n", "e")}
    public_key = rsa.RSAPublicNumbers(number["e"], number["n"]).public_key()
    signed = f"{encode(header | {'alg': algorithm})}.{token.split('.')[1]}"
    passwords = [
        public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
        public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public_key.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        json.dumps(key).encode(),
    ]
    for password in passwords:
        digest = hmac.digest(password, signed.encode(), getattr(hashlib, "sha" + algorithm[2:]))
        assert_unauthorized(list_buckets(api.base_url, f"{signed}.{encode(digest)}"))


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
def test_a_token_signed_with_another_key_is_refused(api, token, algorithm):
    own = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    claims = jwt.get_unverified_claims(token)
    for kid in (jwt.get_unverified_header(token)["kid"], "unknown"):
        assert_unauthorized(list_buckets(api.base_url, jwt.encode(claims, pem, algorithm, headers={"kid": kid})))


def test_a_key_that_comes_with_the_token_is_not_believed(api, token):
    own = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    numbers = own.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": encode(numbers.n.to_bytes(256)), "e": "AQAB"}
    headers = jwt.get_unverified_header(token) | {"jwk": jwk, "jku": "http://127.0.0.1:1/keys"}
    forged = jwt.encode(jwt.get_unverified_claims(token), pem, "RS256", headers=headers)
    assert_unauthorized(list_buckets(api.base_url, forged))


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"alg": "RS256"},
        {"alg": "RS256", "kid": None},
        {"alg": "RS256", "kid": ["x"]},
        {"alg": ["RS256"], "kid": "x"},
    ],
)
def test_a_header_of_another_shape_is_refused(api, token, header):
    _, claims, signature = token.split(".")
    assert_unauthorized(list_buckets(api.base_url, f"{encode(header)}.{claims}.{signature}"))


@pytest.mark.parametrize(
    "text",
    ["x", "..", "a.b.c", "a.b", "a.b.c.d", "mhk_x", "mhk_" + "0" * 46, "9" * 9_000, encode(b"[" * 5_000) + ".e30.x"],
)
def test_nonsense_is_refused(api, text):
    assert_unauthorized(list_buckets(api.base_url, text))


def test_credentials_outside_ascii_are_refused(api):
    headers = [(b"Authorization", "Bearer é.é.é".encode("latin-1"))]
    assert_unauthorized(httpx.get(f"{api.base_url}/v1/metering", headers=headers))


def test_a_token_of_another_installation_with_the_same_keys_is_refused(start_api, api, application):
    elsewhere = start_api(METERHOUSE_BASE_URL="http://elsewhere.test/")
    token = application.token(elsewhere.base_url, audience="http://elsewhere.test/")
    assert list_buckets(elsewhere.base_url, token).status_code == 200
    assert_unauthorized(list_buckets(api.base_url, token))


def test_a_missing_scope_is_forbidden_and_named(api, make_application, make_api_key):
    token = make_application("--scopes", "read:usage").token(api.base_url)
    key = make_api_key("--scopes", "read:usage")["apiKey"]
    for credentials in (token, key):
        answer = list_buckets(api.base_url, credentials)
        assert answer.status_code == 403
        assert "read:buckets" in answer.text
