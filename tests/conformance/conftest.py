"""A server with its worker, an account that has all that its first start would make, and a proxy that can misbehave."""

import json
import os
import subprocess
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from meterhouse.conformance.target import Application, Target
from tests.conftest import COMMAND, TLS


@pytest.fixture(scope="package")
def worker(installation):
    with subprocess.Popen([*COMMAND, "worker"], env=installation.environment, stderr=subprocess.DEVNULL) as process:
        yield process
        process.terminate()


@pytest.fixture(scope="package")
def make_target(installation):
    """Of a fresh account."""

    def make(base_url: str) -> Target:
        account_id = installation.run("accounts", "create", "--name", "conformance")["accountId"]
        mine = ("--account", account_id, "--name", "conformance")
        made = installation.run("applications", "create", *mine)
        application = Application(made["clientId"], made["clientSecret"], made["audience"])
        return Target(base_url, application, None, installation.run("api-keys", "create", *mine)["apiKey"], None)

    return make


@dataclass
class Answered:
    """What the server answered, before the proxy hands it on."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)

    def put(self, value) -> None:
        self.body = json.dumps(value).encode()


@dataclass
class Proxy:
    """Hands everything on, but for what `alter(method, path, answered)` does to an answer."""

    upstream: str
    alter: object = None
    url: str = ""
    calls: list[str] = field(default_factory=list)


@pytest.fixture
def make_proxy():
    servers = []

    def make(upstream: str, alter) -> Proxy:
        proxy = Proxy(upstream, alter)
        client = httpx.Client(base_url=upstream, verify=TLS, timeout=30)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are written one after the other

            def log_message(self, *_):
                pass

            def hand_on(self):
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                proxy.calls.append(f"{self.command} {self.path}")
                response = client.request(self.command, self.path, content=sent, headers=headers)
                kept = {n: v for n, v in response.headers.items() if n.lower() not in ("content-length", "date")}
                answered = Answered(response.status_code, kept, response.content)
                proxy.alter(self.command, self.path.partition("?")[0], answered)
                self.send_response(answered.status)
                for name, value in answered.headers.items():
                    self.send_header(name, value)
                if answered.status != 204:
                    self.send_header("Content-Length", str(len(answered.body)))
                self.end_headers()
                self.wfile.write(answered.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = hand_on  # noqa: N815 - the library's names

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append((server, client))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy.url = f"http://127.0.0.1:{server.server_port}"
        return proxy

    yield make
    for server, client in servers:
        server.shutdown()
        server.server_close()
        client.close()


@pytest.fixture(scope="package")
def plain_environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("METERHOUSE_")}
