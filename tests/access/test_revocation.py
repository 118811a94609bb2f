"""What the operator takes away is gone within three seconds, in a server that has just used it."""

import time

import httpx
import pytest

from .conftest import TOKEN_PATH, list_buckets

WITHIN_SECONDS = 3.0


def assert_ends(base_url: str, credentials: str, deadline: float) -> None:
    while list_buckets(base_url, credentials).status_code == 200:
        assert time.monotonic() < deadline, "still valid"
        time.sleep(0.05)
    assert list_buckets(base_url, credentials).status_code == 401


def revoked(installation, *command: str) -> float:
    installation.run(*command)
    return time.monotonic() + WITHIN_SECONDS


def test_a_revoked_api_key_ends(installation, api, make_api_key):
    key = make_api_key()
    assert list_buckets(api.base_url, key["apiKey"]).status_code == 200
    assert_ends(api.base_url, key["apiKey"], revoked(installation, "api-keys", "revoke", key["apiKeyId"]))


def test_a_revoked_application_ends_with_its_tokens(installation, api, ask, make_application):
    application = make_application()
    token = application.token(api.base_url)
    assert list_buckets(api.base_url, token).status_code == 200
    deadline = revoked(installation, "applications", "revoke", application.client_id)
    assert ask(json=application.asks()).status_code == 401
    assert_ends(api.base_url, token, deadline)


def test_a_revoked_account_ends_with_all_that_call_for_it(
    installation, api, ask, make_account, make_application, make_api_key
):
    account_id = make_account()
    application = make_application(account_id=account_id)
    token, key = application.token(api.base_url), make_api_key(account_id=account_id)["apiKey"]
    assert list_buckets(api.base_url, token).status_code == list_buckets(api.base_url, key).status_code == 200
    deadline = revoked(installation, "accounts", "revoke", account_id)
    assert ask(json=application.asks()).status_code == 401
    assert_ends(api.base_url, token, deadline)
    assert_ends(api.base_url, key, deadline)


def test_a_rotated_secret_works_beside_the_old_one_during_the_overlap(installation, ask, make_application):
    application = make_application()
    rotated = installation.run("applications", "rotate", application.client_id, "--overlap-hours", "1")
    assert rotated["clientId"] == application.client_id
    assert ask(json=application.asks()).status_code == 200
    assert ask(json=application.asks(client_secret=rotated["clientSecret"])).status_code == 200


def test_without_an_overlap_only_the_new_secret_works(installation, api, ask, make_application, make_api_key):
    application, key = make_application(), make_api_key()
    assert list_buckets(api.base_url, key["apiKey"]).status_code == 200
    secret = installation.run("applications", "rotate", application.client_id, "--overlap-hours", "0")["clientSecret"]
    new_key = installation.run("api-keys", "rotate", key["apiKeyId"], "--overlap-hours", "0")["apiKey"]
    assert_ends(api.base_url, key["apiKey"], time.monotonic() + WITHIN_SECONDS)
    assert ask(json=application.asks()).status_code == 401
    assert ask(json=application.asks(client_secret=secret)).status_code == 200
    assert list_buckets(api.base_url, new_key).status_code == 200


def test_an_old_key_ends_when_its_overlap_does(installation, api, make_api_key):
    key = make_api_key()
    assert list_buckets(api.base_url, key["apiKey"]).status_code == 200
    installation.run("api-keys", "rotate", key["apiKeyId"], "--overlap-hours", str(5 / 3600))
    ends_at = time.monotonic() + 5
    assert list_buckets(api.base_url, key["apiKey"]).status_code == 200
    time.sleep(max(0, ends_at - time.monotonic()))
    assert list_buckets(api.base_url, key["apiKey"]).status_code == 401


def test_a_second_rotation_does_not_lengthen_the_first_overlap(installation, ask, make_application):
    application = make_application()
    installation.run("applications", "rotate", application.client_id, "--overlap-hours", "0")
    installation.run("applications", "rotate", application.client_id, "--overlap-hours", "24")
    assert ask(json=application.asks()).status_code == 401


def test_a_key_that_was_made_after_it_was_refused_works_soon(installation, api, make_application, make_api_key):
    """A key that nobody has is remembered, but not for long."""
    key = make_api_key()
    made_up = key["apiKey"][:-1] + ("0" if key["apiKey"][-1] != "0" else "1")
    assert list_buckets(api.base_url, made_up).status_code == 401
    assert list_buckets(api.base_url, key["apiKey"]).status_code == 200


@pytest.mark.parametrize("kind", ["applications", "api-keys"])
def test_a_revoked_client_is_not_rotated(installation, make_application, make_api_key, kind):
    client_id = make_application().client_id if kind == "applications" else make_api_key()["apiKeyId"]
    installation.run(kind, "revoke", client_id)
    with pytest.raises(AssertionError, match="revoked"):
        installation.run_alone(kind, "rotate", client_id)


def test_the_token_call_refuses_a_revoked_account_at_once(installation, api, make_account, make_application):
    account_id = make_account()
    application = make_application(account_id=account_id)
    installation.run("accounts", "revoke", account_id)
    assert httpx.post(api.base_url + TOKEN_PATH, json=application.asks()).status_code == 401
