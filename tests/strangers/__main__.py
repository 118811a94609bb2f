"""Other people's clients complete a tour against `meterhouse serve`: OpenMeter's JavaScript SDK, and a TypeScript client that
openapi-typescript makes of each document the server serves.

`python -m tests.strangers`; needs node and npm.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.conftest import COMMAND, TLS, free_port

HERE = Path(__file__).parent
TOURS = ("openmeter", "metering", "usage-engine")


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port = free_port()
        base_url = f"http://127.0.0.1:{port}"
        own = {"METERHOUSE_PORT": str(port), "METERHOUSE_LOG_LEVEL": "warning"}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("METERHOUSE_")} | own
        with subprocess.Popen([*COMMAND, "serve"], cwd=folder, env=environment, stdout=subprocess.DEVNULL) as server:
            try:
                wait_until_ready(base_url, server)
                build(folder / "clients", base_url)
                failed = [tour for tour in TOURS if not complete(tour, folder, base_url)]
            finally:
                server.terminate()
    print(f"strangers' clients: {len(TOURS) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def wait_until_ready(base_url: str, server: subprocess.Popen) -> None:
    for _ in range(1200):
        try:
            if httpx.get(f"{base_url}/readyz", verify=TLS).status_code == 200:
                return
        except httpx.TransportError:
            assert server.poll() is None, "the server has ended"
        time.sleep(0.05)
    raise AssertionError("not ready")


def build(folder: Path, base_url: str) -> None:
    """The pinned packages, a client of each served document, and all of it compiled."""
    folder.mkdir()
    for path in (*HERE.glob("*.json"), *HERE.glob("*.ts")):
        shutil.copy(path, folder)
    npm(folder, "ci", "--no-audit", "--no-fund", "--loglevel=error")
    for document in ("metering", "usage-engine"):
        npm(
            folder,
            "exec",
            "--",
            "openapi-typescript",
            f"{base_url}/openapi/{document}.json",
            "-o",
            f"{document}-api.d.ts",
        )
    npm(folder, "exec", "--", "tsc", "--project", ".")


def npm(folder: Path, *arguments: str) -> None:
    subprocess.run(["npm", *arguments], cwd=folder, check=True, timeout=300)


def complete(tour: str, folder: Path, base_url: str) -> bool:
    made = json.loads((folder / ".meterhouse" / "credentials.json").read_text())
    told = {
        "BASE_URL": base_url,
        "API_KEY": made["apiKey"],
        "CLIENT_ID": made["clientId"],
        "CLIENT_SECRET": made["clientSecret"],
        "AUDIENCE": made["audience"],
        "COLLECTOR_ID": made["collectorId"],
        "METER_KEY": made["meterKey"],
    }
    print(f"{tour}:", flush=True)
    done = subprocess.run(
        ["node", f"built/{tour}.js"], cwd=folder / "clients", env=os.environ | told, check=False, timeout=120
    )
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
