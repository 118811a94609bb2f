"""Schemathesis over every document: positive and negative data, coverage of every constraint, walks along the links."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from .documents import FOLDER
from .world import furnish, make_caller

HERE = Path(__file__).parent
EXAMPLES = 20

# CONTRACT_BUDGET=10: ten times as many, from another seed each time, which a failure tells.
BUDGET = int(os.environ.get("CONTRACT_BUDGET", "1"))
SEED = 1 if BUDGET == 1 else random.SystemRandom().randrange(2**31)


@pytest.mark.parametrize("document", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_schemathesis_finds_nothing(installation, api, document: Path):
    caller = make_caller(installation, api.base_url)
    world = furnish(api.base_url, caller, "metering")
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks",
        "CONTRACT_TOKEN": caller.credentials["accessToken"],
        "CONTRACT_PORTAL_TOKEN": world.caller.credentials["portalToken"],
        "CONTRACT_BUCKET": world.headers["X-Bucket-Id"],
    }
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml")]
    run = ["run", str(document), "--url", api.base_url, "--seed", str(SEED), "--max-examples", str(EXAMPLES * BUDGET)]
    repeatable = ["--generation-deterministic"] if BUDGET == 1 else ["--generation-database", "none"]
    done = subprocess.run(
        [*command, *run, *repeatable, "--no-color"],
        cwd=HERE.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    world.close()
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout[-20_000:]}\n{done.stderr[-5_000:]}"
