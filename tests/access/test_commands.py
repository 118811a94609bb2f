import subprocess
import sys
import uuid

import pytest

from meterhouse.access.commands import as_table
from meterhouse.access.operations import ALL_SCOPES, BUCKET_SCOPES
from meterhouse.access.secrets import is_api_key, is_client_secret

from .conftest import AUDIENCE


def fail(installation, *arguments: str) -> str:
    """A command that must fail; the one line that it says."""
    done = subprocess.run(
        [sys.executable, "-m", "meterhouse", *arguments],
        env=installation.environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    return line


def test_an_account_is_made_listed_and_revoked(installation):
    made = installation.run_alone("accounts", "create", "--name", "Example Ltd")
    assert (made["name"], made["revokedAt"]) == ("Example Ltd", None)
    default_bucket = made.pop("bucketId")
    assert made in installation.run_alone("accounts", "list")
    buckets = installation.run_alone("buckets", "list", "--account", made["accountId"])
    assert [bucket["bucketId"] for bucket in buckets] == [default_bucket]
    revoked = installation.run_alone("accounts", "revoke", made["accountId"])
    assert revoked["revokedAt"] is not None
    assert installation.run_alone("accounts", "revoke", made["accountId"]) == revoked


def test_an_application_shows_its_secret_once(installation, make_account):
    account_id = make_account()
    made = installation.run_alone("applications", "create", "--account", account_id, "--name", "billing")
    assert is_client_secret(made["clientSecret"])
    assert (made["accountId"], made["audience"], made["name"]) == (account_id, AUDIENCE, "billing")
    assert made["scopes"] == list(ALL_SCOPES)
    (listed,) = installation.run_alone("applications", "list", "--account", account_id)
    assert listed["clientId"] == made["clientId"]
    assert "clientSecret" not in listed
    assert made["clientSecret"] not in str(listed)


def test_an_api_key_may_be_of_one_bucket_of_its_account(installation, make_account):
    account_id = make_account()
    bucket_id = installation.run_alone("buckets", "create", "--account", account_id, "--name", "main")["bucketId"]
    wide = installation.run_alone("api-keys", "create", "--account", account_id, "--name", "wide")
    narrow = installation.run_alone(
        "api-keys", "create", "--account", account_id, "--name", "narrow", "--bucket", bucket_id
    )
    assert is_api_key(wide["apiKey"])
    assert (wide["bucketId"], wide["scopes"]) == (None, list(BUCKET_SCOPES))
    assert narrow["bucketId"] == bucket_id
    assert "delete:buckets" not in narrow["scopes"]
    assert "send:events" in narrow["scopes"]
    listed = installation.run_alone("api-keys", "list", "--account", account_id)
    assert [key["bucketId"] for key in listed] == [None, bucket_id]
    stranger = make_account()
    assert bucket_id in fail(
        installation, "api-keys", "create", "--account", stranger, "--name", "x", "--bucket", bucket_id
    )


def test_a_bucket_is_made_listed_and_revoked(installation, make_account):
    account_id = make_account()
    made = installation.run_alone("buckets", "create", "--account", account_id)
    assert made in installation.run_alone("buckets", "list", "--account", account_id)
    assert installation.run_alone("buckets", "revoke", made["bucketId"])["revokedAt"]
    assert made not in installation.run_alone("buckets", "list", "--account", account_id)
    assert made["bucketId"] in fail(installation, "buckets", "revoke", made["bucketId"])


@pytest.mark.parametrize(
    "command",
    [
        "applications revoke",
        "applications rotate",
        "api-keys revoke",
        "api-keys rotate",
        "buckets revoke",
        "accounts revoke",
    ],
)
def test_an_unknown_id_is_one_clear_line(installation, command):
    unknown = str(uuid.uuid4())
    assert unknown in fail(installation, *command.split(), unknown)


def test_an_account_must_be_named_when_there_are_several(installation, make_account):
    make_account()
    make_account()
    assert "--account" in fail(installation, "applications", "create", "--name", "x")


def test_a_revoked_account_gets_nothing_new(installation, make_account):
    account_id = make_account()
    installation.run_alone("accounts", "revoke", account_id)
    assert account_id in fail(installation, "api-keys", "create", "--account", account_id, "--name", "x")


@pytest.mark.parametrize(("kind", "scope"), [("applications", "fly:planes"), ("api-keys", "send:data")])
def test_a_scope_that_a_client_cannot_have_is_named(installation, make_account, kind, scope):
    assert scope in fail(installation, kind, "create", "--account", make_account(), "--name", "x", "--scopes", scope)


def test_a_table_is_for_people():
    assert as_table([]) == "none"
    assert as_table({"a": None, "long": ["x", "y"]}) == "a     -\nlong  x y"
    assert as_table([{"a": "1", "b": "2"}, {"a": "333", "b": None}]) == "a    b\n1    2\n333  -"
