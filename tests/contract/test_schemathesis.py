"""Schemathesis over every document: positive and negative data, coverage of every constraint, walks along the links."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox import open_sandbox

from .documents import FOLDER
from .world import furnish, make_caller

HERE = Path(__file__).parent
EXAMPLES = 20

# CONTRACT_BUDGET=10: ten times as many, from another seed each time, which a failure tells; CONTRACT_SEED takes it again.
BUDGET = int(os.environ.get("CONTRACT_BUDGET", "1"))
SEED = int(os.environ.get("CONTRACT_SEED", "1" if BUDGET == 1 else random.SystemRandom().randrange(2**31)))

DATA, LINKS = "examples,coverage,fuzzing", "stateful"
PHASES = {
    "data": (DATA, ["schemathesis.toml", "schemathesis_things.toml"]),
    "links": (LINKS, ["schemathesis.toml"]),
}
OF_SANDBOXES = "^/sandbox/"
"""Operations that move the clock under everything else: they have a server of their own."""


@pytest.fixture(scope="module")
def things(installation, api):
    """Credentials, and ids of things that exist: what the files of settings and the hooks read from the environment."""
    caller = make_caller(installation, api.base_url)
    bucket = furnish(api.base_url, caller, "metering")
    usage_engine = furnish(api.base_url, caller, "usage-engine", "meter collector stream run version webhook")
    place = usage_engine.place
    yield {
        "CONTRACT_TOKEN": caller.credentials["accessToken"],
        "CONTRACT_PORTAL_TOKEN": bucket.caller.credentials["portalToken"],
        "CONTRACT_BUCKET": bucket.headers["X-Bucket-Id"],
        "CONTRACT_METER": bucket.client.get("/api/v1/meters/tokens_total").json()["id"],
        "CONTRACT_CUSTOMER": bucket.client.get("/api/v1/customers/acme").json()["id"],
        "CONTRACT_METER_TYPE": place("/usage-metering/v1/meter-types/{id}"),
        "CONTRACT_USER_METER": place("/usage-metering/v1/meters/{id}"),
        "CONTRACT_WEBHOOK": place("/usage-metering/v1/webhooks/{id}"),
        "CONTRACT_COLLECTOR": place("/online-collection/v1/collectors/{id}"),
        "CONTRACT_INGESTION": place("/online-collection/v1/collectors/{id}/ingestions/{ingestionId}"),
        "CONTRACT_STREAM": place("/stream-management/v1/streams/{id}"),
        "CONTRACT_RUN": place("/stream-management/v1/streams/{id}/runs/{runId}"),
        "CONTRACT_VERSION": place("/stream-management/v1/streams/{id}/versions/{versionId}"),
    }
    usage_engine.close()
    bucket.close()


@pytest.mark.parametrize("phases", PHASES)
@pytest.mark.parametrize("document", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_schemathesis_finds_nothing(api, things, tmp_path, document: Path, phases: str):
    names, files = PHASES[phases]
    run_schemathesis(api.base_url, document, names, files, things, tmp_path, "--exclude-path-regex", OF_SANDBOXES)


def test_schemathesis_finds_nothing_in_a_sandbox(installation, start_api, tmp_path_factory, tmp_path):
    with open_sandbox(installation, start_api, tmp_path_factory) as sandbox:
        sandbox.start_worker()
        caller = make_caller(sandbox.installation, sandbox.api.base_url)
        document, token = FOLDER / "usage-engine.yaml", {"CONTRACT_TOKEN": caller.credentials["accessToken"]}
        only = ("--include-path-regex", OF_SANDBOXES)
        run_schemathesis(sandbox.api.base_url, document, DATA, ["schemathesis.toml"], token, tmp_path, *only)


def run_schemathesis(
    base_url: str, document: Path, phases: str, files: list[str], things: dict[str, str], tmp_path: Path, *more: str
) -> None:
    settings = tmp_path / "schemathesis.toml"
    settings.write_text("".join((HERE / name).read_text() for name in files))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run", str(document)]
    how = ["--url", base_url, "--phases", phases, "--seed", str(SEED), "--max-examples", str(EXAMPLES * BUDGET)]
    repeatable = ["--generation-deterministic"] if BUDGET == 1 else ["--generation-database", "none"]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks", "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        [*command, *how, *repeatable, *more, "--no-color"],
        cwd=tmp_path,
        env=os.environ | things | hooks,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout[-200_000:]}\n{done.stderr[-5_000:]}"
