"""The token endpoint: POST /authentication/v1/oauth/token."""

from typing import Any

from jose import JWTError, jwt

from meterhouse.conformance.expect import ANYTHING, TEXT, UUID, WHOLE_NUMBER, Like, Only, differences
from meterhouse.conformance.report import Rule
from meterhouse.conformance.target import Application
from meterhouse.conformance.walk import Answer, Walk, text_of, usage_engine_error

PATH = "/authentication/v1/oauth/token"
NAME = "create_access_token"
SCOPES = Like("scopes separated by spaces", lambda text: isinstance(text, str) and all(text.split(" ")))
TOKEN = Answer(200, Only({"access_token": TEXT, "expires_in": 3600, "scope": SCOPES, "token_type": "Bearer"}))


def walk_tokens(walk: Walk, application: Application) -> str:
    """A token."""
    asked = {
        "audience": application.audience,
        "client_id": application.client_id,
        "client_secret": application.client_secret,
        "grant_type": "client_credentials",
    }
    rule = Rule(NAME, "credentials as JSON are exchanged for a token", "Usage Engine, Create access token")
    body = walk.check(rule, walk.call("POST", PATH, json=asked), TOKEN)
    rule = Rule(
        NAME, "credentials as a form are exchanged for a token", "Usage Engine, Application access; RFC 6749, 4.4"
    )
    walk.check(rule, walk.call("POST", PATH, data=asked), TOKEN)
    _refusals(walk, asked)
    token = text_of(body, "access_token")
    _claims(walk, application, token)
    rule = Rule(
        "list_meter_types", "a call without a token is refused", "Usage Engine, Authorizations; 401 Unauthorized"
    )
    walk.check(rule, walk.call("GET", "/usage-metering/v1/meter-types"), usage_engine_error(401))
    rule = Rule("list_meter_types", "a token that was tampered with is refused", "RFC 6750, 3.1")
    forged = {"Authorization": f"Bearer {token[:-8]}AAAAAAAA"}
    walk.check(rule, walk.call("GET", "/usage-metering/v1/meter-types", headers=forged), usage_engine_error(401))
    return token


def _refusals(walk: Walk, asked: dict[str, str]) -> None:
    def refused(status: int, error: str) -> Answer:
        return Answer(status, {"error": error, "error_description": ANYTHING})

    rule = Rule(NAME, "a wrong secret is refused", "RFC 6749, 5.2; in the words of the Usage Engine's issuer")
    wrong = asked | {"client_secret": asked["client_secret"][:-1] + "!"}
    walk.check(rule, walk.call("POST", PATH, json=wrong), refused(401, "access_denied"))
    rule = Rule(NAME, "a wrong audience is refused", "Usage Engine, Create access token: audience")
    wrong = asked | {"audience": "https://somewhere.else.example/"}
    walk.check(rule, walk.call("POST", PATH, json=wrong), refused(401, "access_denied"))
    rule = Rule(NAME, "another grant is refused", "Usage Engine, Create access token: grant_type; RFC 6749, 5.2")
    wrong = asked | {"grant_type": "password"}
    walk.check(rule, walk.call("POST", PATH, json=wrong), refused(400, "unsupported_grant_type"))
    for member in ("audience", "grant_type"):
        rule = Rule(NAME, f"{member} is required", "Usage Engine, Create access token; RFC 6749, 5.2")
        wrong = {name: value for name, value in asked.items() if name != member}
        walk.check(rule, walk.call("POST", PATH, json=wrong), refused(400, "invalid_request"))


def _claims(walk: Walk, application: Application, token: str) -> None:
    rule = Rule(NAME, "the token is signed by a key of /.well-known/jwks.json", "RFC 7517; Meterhouse, Using it")
    keys = walk.call("GET", "/.well-known/jwks.json")
    claims: dict[str, Any] = {}
    wrong = []
    try:
        claims = jwt.decode(token, keys.json(), algorithms=["RS256"], audience=application.audience)
    except (JWTError, ValueError) as error:
        wrong.append(str(error))
    walk.note(rule, wrong, "a signature by RS256", "as expected")
    rule = Rule(
        NAME, "the token carries the claims that clients read", "Usage Engine, the token of Create access token"
    )
    expected = {
        "accountId": UUID,
        "aud": application.audience,
        "azp": application.client_id,
        "exp": WHOLE_NUMBER,
        "gty": "client-credentials",
        "iat": WHOLE_NUMBER,
        "iss": TEXT,
        "sub": f"{application.client_id}@clients",
    }
    if not wrong:
        walk.note(rule, differences(expected, claims), ", ".join(expected), "as expected")
