"""Runs the vendor's own example streams, from a folder that is given: `python -m tests.official_streams FOLDER`.

Each is imported, exported unchanged, and run to its end (real-time ones: deployed). Streams that call the vendor's API
reach this very server, with OAuth. Provisioning streams run before the others and purging ones last. Of those that are
known by name it is proved what they come to (see official_proofs).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from . import official_proofs as proofs
from .conftest import COMMAND, free_port
from .official_proofs import STREAMS, Server
from .tenants import TLS

VENDOR = "api.digitalroute.io"


def rank(path: Path) -> tuple[int, str]:
    order = ("provisioning-meter-types", "provisioning-meters")
    place = order.index(path.stem) if path.stem in order else 3 if path.stem.startswith("purge") else 2
    return place, path.stem


def run(client: httpx.Client, path: Path) -> tuple[str, dict]:
    """What is wrong, or nothing; and the run."""
    document = json.loads(path.read_text())
    made = client.post(f"{STREAMS}/import", json={"stream": document})
    if made.status_code != 201:
        return f"import: {made.text}", {}
    stream = f"{STREAMS}/{made.json()['id']}"
    exported = client.get(f"{stream}/export").json()
    if exported != document | {"tag": None}:
        return "the export is not what was imported", {}
    if any(node["type"] == "readers/online_collection" for node in document["nodes"]):
        return "" if client.post(f"{stream}/deploy").status_code == 200 else "deploy", {}
    run_id = client.post(f"{stream}/start").json()["runId"]
    for _ in range(1200):
        found = client.get(f"{stream}/runs/{run_id}").json()
        if found["status"] != "running":
            rejected = {name: counts["rejected"] for name, counts in found["nodes"].items() if counts["rejected"]}
            print(f"    {found['status']}; rejected: {sum(rejected.values())}", flush=True)
            return "" if found["status"] == "completed" else str(found.get("error")), found
        time.sleep(0.05)
    return "it does not end", {}


def prove(server: Server, path: Path, documents: dict[str, dict], found: dict) -> str:
    """What a stream that is known by its name or its functions does not come to, or nothing. `found`: its run."""
    meters, document = documents.get("provisioning-meters"), documents[path.stem]
    try:
        if path.stem.startswith("provisioning"):
            proofs.prove_provisioning(server, found)
        elif path.stem.startswith("purge") and meters:
            proofs.prove_purged(server, meters)
        elif meters and any(node["type"] == "transforms/meter" for node in document["nodes"]):
            proofs.prove_metering(server, document, proofs.key_in(meters), meters)
        elif path.stem == "handling-erroneous-and-duplicated-records":
            proofs.prove_cleaning(server, document)
        elif path.stem == "summarize-monthly-usage-data":
            proofs.prove_months(server, document)
        elif path.stem == "peppa-crm":
            proofs.prove_correlation(server, document)
            proofs.prove_collected_sessions(server, document)
        else:
            return ""
    except AssertionError as error:
        return str(error) or traceback.format_exc()
    print("    proved", flush=True)
    return ""


def main(folder: Path) -> int:
    paths = sorted(folder.glob("*.json"), key=rank)
    documents = {path.stem: json.loads(path.read_text()) for path in paths}
    failed = 0
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as client:
        keep_secrets(client, paths, sign_in(client, Path(name)))
        for path in paths:
            print(f"  {path.name}", flush=True)
            problem, found = run(client, path)
            if problem := problem or prove(Server(client), path, documents, found):
                failed += 1
                print(f"    FAILED: {problem}", flush=True)
    print(f"official streams: {len(paths) - failed} passed, {failed} failed")
    return 1 if failed or not paths else 0


@contextmanager
def serving(folder: Path) -> Iterator[httpx.Client]:
    """A whole server, for which the vendor's API is its own."""
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("METERHOUSE_")} | {
        "METERHOUSE_PORT": str(port),
        "METERHOUSE_BASE_URL": f"https://{VENDOR}/",
        "METERHOUSE_HTTP_HOSTS": json.dumps({VENDOR: base_url}),
        "METERHOUSE_RATE_LIMITS": "off",
        "METERHOUSE_LOG_LEVEL": "warning",
    }
    with subprocess.Popen([*COMMAND, "serve"], cwd=folder, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            with httpx.Client(verify=TLS, base_url=base_url, timeout=60) as client:
                yield client
        finally:
            server.terminate()


def sign_in(client: httpx.Client, folder: Path) -> dict[str, str]:
    for _ in range(600):
        try:
            if client.get("/readyz").status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.05)
    credentials = json.loads((folder / ".meterhouse" / "credentials.json").read_text())
    secret = {"client_id": credentials["clientId"], "client_secret": credentials["clientSecret"]}
    asked = secret | {"audience": credentials["audience"], "grant_type": "client_credentials"}
    token = client.post("/authentication/v1/oauth/token", json=asked).json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    return {"type": "oauth2", "clientId": credentials["clientId"], "clientSecret": credentials["clientSecret"]}


def keep_secrets(client: httpx.Client, paths: list[Path], secret: dict[str, str]) -> None:
    """The account's default one, and one under each id that a stream names."""
    named = {
        entry["secretId"]
        for path in paths
        for node in json.loads(path.read_text())["nodes"]
        if (entry := (node["params"] or {}).get("secretsWalletEntry")) and "secretId" in entry
    }
    for body in [{"name": "own"}, *({"name": f"own {secret_id}", "id": secret_id} for secret_id in sorted(named))]:
        answer = client.post("/stream-management/v1/secrets", json=secret | body)
        assert answer.status_code == 201, answer.text


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
