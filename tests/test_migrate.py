"""`meterhouse migrate`, alone and with the first account, on an empty database of an operator's own."""

import json
import os
import subprocess

import psycopg
import pytest

from .conftest import COMMAND, free_port


@pytest.fixture
def environment(installation, tmp_path):
    """Of an installation that has a database without tables, and keeps its secrets in files."""
    url = installation.environment["METERHOUSE_DATABASE_URL"]
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as database:
        database.execute("DROP DATABASE IF EXISTS bare WITH (FORCE)")
        database.execute("CREATE DATABASE bare")
    (tmp_path / "database-url").write_text(url.replace("/meterhouse?", "/bare?") + "\n")
    (tmp_path / "secret-key").write_text("k" * 40 + "\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("METERHOUSE_")}
    return kept | {
        "METERHOUSE_DATA_DIR": str(tmp_path / "data"),
        "METERHOUSE_DATABASE_URL_FILE": str(tmp_path / "database-url"),
        "METERHOUSE_SECRET_KEY_FILE": str(tmp_path / "secret-key"),
        "METERHOUSE_BASE_URL": "https://usage.example.com",
    }


def run(environment, *arguments):
    return subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def listed(environment, noun):
    return json.loads(run(environment, noun, "list", "--json").stdout)


def test_migrate_alone_makes_no_account(environment, tmp_path):
    done = run(environment, "migrate")
    assert (done.returncode, done.stdout) == (0, "The schema is current.\n")
    assert listed(environment, "accounts") == []
    assert not (tmp_path / "data").exists()


def test_the_first_account_is_made_once_and_its_credentials_are_kept_and_not_printed(environment, tmp_path):
    first = run(environment, "migrate", "--first-account")
    assert first.returncode == 0, first.stderr
    path = tmp_path / "data" / "credentials.json"
    assert f"credentials of the first account are in {path}" in first.stdout
    credentials = json.loads(path.read_text())
    assert credentials["audience"] == "https://usage.example.com/"
    for secret in ("clientSecret", "apiKey"):
        assert credentials[secret] not in first.stdout + first.stderr
    assert [one["accountId"] for one in listed(environment, "accounts")] == [credentials["accountId"]]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["credentials.json"], "the secret key is elsewhere"

    again = run(environment, "migrate", "--first-account")
    assert again.returncode == 0
    assert str(path) not in again.stdout
    assert json.loads(path.read_text()) == credentials
    assert len(listed(environment, "accounts")) == 1


def test_credentials_that_cannot_be_kept_are_one_line_and_no_account(environment, tmp_path):
    (tmp_path / "data").write_text("in the way")
    done = run(environment, "migrate", "--first-account")
    assert done.returncode == 1
    assert "METERHOUSE_DATA_DIR" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    (tmp_path / "data").unlink()
    assert listed(environment, "accounts") == []


@pytest.mark.parametrize("command", ["migrate", "worker", "accounts list", "api"])
def test_a_database_that_cannot_be_reached_is_one_line(environment, tmp_path, command):
    (tmp_path / "database-url").write_text(f"postgresql://nobody:hush-hush@127.0.0.1:{free_port()}/nothing")
    done = run(environment | {"METERHOUSE_PORT": "0", "METERHOUSE_RATE_LIMITS": "off"}, *command.split())
    assert done.returncode == 1
    assert "connection" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "hush-hush" not in done.stderr
