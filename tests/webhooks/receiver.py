"""A server that receives webhooks, and answers as each test says."""

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST = "hooks.example"
"""Mapped to the receiver: a name that looks public, and need not exist."""


@dataclass(frozen=True)
class Call:
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def content(self) -> dict:
        return json.loads(self.body)

    @property
    def data(self) -> dict:
        return self.content["data"]


@dataclass
class Hook:
    """One path of the receiver. `answer`: a status, or a function of the call that returns one."""

    url: str
    answer: int | Callable[[Call], int] = 200
    calls: list[Call] = field(default_factory=list)
    taken: list[Call] = field(default_factory=list)
    """Those that were answered 2xx."""

    def wait_for_calls(self, count: int, seconds: float = 60) -> list[Call]:
        return self._wait(self.calls, count, seconds)

    def wait_for_taken(self, count: int, seconds: float = 60) -> list[Call]:
        return self._wait(self.taken, count, seconds)

    def _wait(self, calls: list[Call], count: int, seconds: float) -> list[Call]:
        end = time.monotonic() + seconds
        while len(calls) < count:
            assert time.monotonic() < end, f"{len(calls)} of {count} came"
            time.sleep(0.02)
        return list(calls)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        hook = self.server.hooks[self.path]
        length = int(self.headers["Content-Length"])
        sent = self.rfile.read(length)
        if len(sent) < length:  # the caller was killed halfway: that was no call
            self.close_connection = True
            return
        body = sent.decode()
        call = Call({name.lower(): value for name, value in self.headers.items()}, body)
        hook.calls.append(call)
        status = hook.answer(call) if callable(hook.answer) else hook.answer
        if 200 <= status < 300:
            hook.taken.append(call)
        try:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if 300 <= status < 400:
                self.send_header("Location", self.path + "-elsewhere")
            self.end_headers()
        except OSError:
            self.close_connection = True

    def log_message(self, *arguments): ...


class Receiver(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hooks: dict[str, Hook] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address): ...  # callers that were killed

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def hook(self, answer=200) -> Hook:
        path = f"/{uuid.uuid4()}"
        self.hooks[path] = hook = Hook(f"http://{HOST}{path}", answer)
        return hook
