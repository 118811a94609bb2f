"""HTTP request: streams that call other servers, and those that they must not reach."""

import asyncio
import base64
import json
import socket
import threading
import time
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from meterhouse import outbound
from meterhouse.outbound import Call, CallFailedError, Outbound
from meterhouse.settings import SettingsError, read_settings
from tests.conftest import free_port
from tests.streams.test_runs import counting, imported, node, outputs, run_to_the_end, start_worker  # noqa: F401
from tests.tenants import make_tenant, paths_of, refused

SECRETS = "/stream-management/v1/secrets"
OFFICIAL = "https://api.digitalroute.io"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen = SimpleNamespace(
            method=self.command, path=url.path, query=parse_qs(url.query, True), headers=self.headers, body=body
        )
        with self.server.lock:
            self.server.seen.append(seen)
            self.server.counts[url.path] += 1
            count = self.server.counts[url.path]
        status, headers, answer = getattr(self, "do" + url.path.replace("/", "_").rstrip("_"))(seen, count)
        answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(answer))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(answer)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - names of http.server

    def log_message(self, *arguments): ...

    def do_echo(self, seen, count):
        headers = {name.lower(): value for name, value in seen.headers.items()}
        return 200, {"X-Kind": "echo"}, {"query": seen.query, "headers": headers, "body": seen.body.decode()}

    def do_slow(self, seen, count):
        """The first comes last."""
        number = int(seen.query["n"][0])
        time.sleep(0.3 if number % 8 == 0 else 0)
        return 200, {}, b'{"n": %d, "exact": 0.10000000000000000001}' % number

    def do_odd(self, seen, count):
        odd = int(seen.query["n"][0]) % 2
        return (404, {}, {"message": "odd"}) if odd else (200, {}, {"even": True})

    def do_flaky(self, seen, count):
        return (503, {}, b"later") if count < 3 else (200, {}, {"count": count})

    def do_counted(self, seen, count):
        return 200, {}, {"count": count}

    def do_text(self, seen, count):
        return 200, {}, b"plain \x00 text"

    def do_unstorable(self, seen, count):
        return 200, {}, rb'{"a": "\u0000"}'

    def do_large(self, seen, count):
        return 200, {}, b'"' + b"x" * outbound.MAX_ANSWER_BYTES + b'"'

    def do_deep(self, seen, count):
        return 200, {}, b"[" * 5000 + b"]" * 5000

    def do_redirect(self, seen, count):
        return 302, {"Location": "/counted"}, b""

    def do_cookie(self, seen, count):
        return 200, {"Set-Cookie": "a=b"}, {"cookie": seen.headers.get("Cookie")}

    def do_token(self, seen, count):
        return 200, {}, {"access_token": f"token-{count}", "expires_in": 3600}

    def do_secured(self, seen, count):
        """Refuses the first token after five calls."""
        first = seen.headers.get("Authorization") == "Bearer token-1"
        return (401, {}, b"") if first and count > 5 else (200, {}, {"as": seen.headers.get("Authorization")})


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.lock, server.seen, server.counts = threading.Lock(), [], Counter()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def forgotten(server):
    server.seen.clear()
    server.counts.clear()


@pytest.fixture(scope="module")
def own_api(start_api):
    return start_api(METERHOUSE_AUDIENCES=f"{OFFICIAL}/")


@pytest.fixture(scope="module")
def worker(server, own_api, installation, start_worker):  # noqa: F811
    hosts = {"test.example": f"http://127.0.0.1:{server.server_port}", "api.digitalroute.io": own_api.base_url}
    installation.environment["METERHOUSE_HTTP_HOSTS"] = json.dumps(hosts)
    try:
        return start_worker()
    finally:
        del installation.environment["METERHOUSE_HTTP_HOSTS"]


@pytest.fixture
def ask(client, imported, worker):  # noqa: F811
    """Runs `records` records through one HTTP function; the run and what reached the log."""

    def run(path, records=1, of=client, **params):
        http = node("http", "transforms/http", **({"method": "GET", "uri": f"http://test.example{path}"} | params))
        document = counting(records, http, edges=[("count", "http"), ("http", "log")])
        answer = of.post("/stream-management/v1/streams/import", json={"stream": document})
        assert answer.status_code == 201, answer.text
        done = run_to_the_end(of, answer.json()["id"])
        return done, [payload for _, payload in outputs(of, done)]

    return run


def rejections(installation, run):
    with psycopg.connect(installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")) as database:
        query = "SELECT error, payload FROM rejected_records WHERE run_id = %s ORDER BY payload ->> 'value'"
        return database.execute(query, [run["id"]]).fetchall()


def test_templates_fill_query_headers_and_body_and_the_answer_joins_the_record(ask):
    run, [record] = ask(
        "/echo?fixed=1",
        method="POST",
        qs=[{"key": "n", "value": "${payload.value}"}, {"key": "many", "value": ["a b", "ä&"]}],
        headers={"X-N": "n ${payload.value}", "Host": "elsewhere"},
        body={"whole": "${payload}", "n": "${payload.value}"},
        useResponseHeaderKey=True,
    )
    assert run["status"] == "completed"
    got = record["httpResponse"]
    assert got["query"] == {"fixed": ["1"], "n": ["0"], "many": ["a b", "ä&"]}
    assert json.loads(got["body"]) == {"whole": {"value": 0}, "n": 0}
    assert (got["headers"]["x-n"], got["headers"]["content-type"]) == ("n 0", "application/json")
    assert got["headers"]["host"].startswith("127.0.0.1:")
    assert (record["httpResponseStatus"], record["httpResponseHeaders"]["x-kind"]) == (200, "echo")
    assert record["value"] == 0


def test_many_records_are_called_at_once_and_keep_their_order_and_their_digits(ask, client):
    run, records = ask("/slow?n=${payload.value}", 40)
    assert [record["httpResponse"]["n"] for record in records] == list(range(40))
    text = client.get(f"/stream-management/v1/streams/{run['streamId']}/runs/{run['id']}/outputs").text
    assert "0.10000000000000000001" in text


def test_defer_rejects_what_is_not_answered_2xx(ask, installation):
    run, records = ask("/odd", 4, qs={"n": "${payload.value}"}, errorMode="defer")
    assert [record["value"] for record in records] == [0, 2]
    assert run["nodes"]["http"] == {"in": 4, "out": 2, "rejected": 2}
    assert rejections(installation, run) == [
        ('the call was answered 404: {"message": "odd"}', {"value": number}) for number in (1, 3)
    ]


def test_emit_goes_on_with_the_error(ask):
    _, records = ask("/odd", 2, qs={"n": "${payload.value}"}, errorMode="emit")
    assert records[0] == {"value": 0, "httpResponse": {"even": True}}
    assert records[1]["httpResponse"] == {"message": "odd"}
    assert records[1]["httpError"] == {"message": 'the call was answered 404: {"message": "odd"}', "status": 404}


def test_abort_aborts_the_run(ask, server):
    run, _ = ask("/odd", 500, qs={"n": "${payload.value}"}, errorMode="abort")
    assert (run["status"], run["error"]) == ("aborted", 'Http: the call was answered 404: {"message": "odd"}')
    assert server.counts["/odd"] < 100


def test_retries_only_when_asked_to(ask, server):
    _, [record] = ask("/flaky", retries=1, shouldRetry=False, errorMode="emit")
    assert (record["httpError"]["status"], record["httpResponse"]) == (503, "later")
    server.counts.clear()
    _, [record] = ask("/flaky", retries=3, shouldRetry=True)
    assert record["httpResponse"] == {"count": 3}


def test_equal_calls_are_made_once_with_a_cache(ask, server):
    _, records = ask("/counted", 20, useCache=True, cacheSeconds=60)
    assert {record["httpResponse"]["count"] for record in records} == {1}
    _, records = ask("/counted?${payload.value}", 20, useCache=True, cacheSeconds=60, cacheKey="k")
    assert {record["httpResponse"]["count"] for record in records} == {2}
    assert server.counts["/counted"] == 2


def test_a_cache_key_that_is_empty_for_the_record_is_none(ask, server):
    params = {"useCache": True, "cacheSeconds": 60, "cacheKey": "${payload.missing}"}
    _, records = ask("/echo?n=${payload.value}", 4, **params)
    assert [record["httpResponse"]["query"] for record in records] == [{"n": [str(n)]} for n in range(4)]
    _, records = ask("/echo?n=${payload.value}", 4, **params)
    assert server.counts["/echo"] == 4


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/redirect", "answered 302"),
        ("/large", "more than 4194304 bytes"),
        ("/unstorable", "cannot be kept"),
        ("/deep", "nested"),
        ("/echo?" + "x" * 9000, "URL has more"),
    ],
)
def test_what_no_record_should_hold_is_a_failure(ask, server, path, reason):
    _, [record] = ask(path, errorMode="emit")
    assert reason in record["httpError"]["message"]
    assert server.counts["/counted"] == 0


def test_text_is_kept_as_text_and_cookies_are_not_kept(ask):
    assert ask("/text")[1][0]["httpResponse"] == "plain \ufffd text"
    assert [record["httpResponse"] for record in ask("/cookie", 20)[1]] == [{"cookie": None}] * 20


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"uri": ""}, "uri"),
        ({"errorMode": "explode"}, "errorMode"),
        ({"authType": "kerberos"}, "authType"),
        ({"qs": [1]}, "qs"),
        ({"useCache": True, "cacheSeconds": "long"}, "cacheSeconds"),
        ({"authType": "oAuth2", "secretsWalletEntry": {"secretId": "x"}}, "secretId"),
        ({"authType": "oAuth2", "secretsWalletEntry": {"secretId": str(uuid.uuid4())}}, "oauth2 secret with the id"),
    ],
)
def test_broken_params_abort_the_run_and_are_named(ask, params, said):
    run, _ = ask("/echo", **params)
    assert run["status"] == "aborted"
    assert said in run["error"]


# --- logging in --------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(installation, own_api):
    """A client of an account that has no secrets yet."""
    with make_tenant(installation, own_api.base_url).client() as client:
        yield client


def make_secret(client, **members):
    answer = client.post(SECRETS, json={"name": f"s {uuid.uuid4()}"} | members)
    assert answer.status_code == 201, answer.text
    return answer.json()


OAUTH2 = {"type": "oauth2", "clientId": "me & you", "clientSecret": "hush+hush"}
AT_TEST = {"authType": "oAuth2", "oAuth2Authentication": {"accessTokenURL": "http://test.example/token"}}


def test_a_token_is_fetched_once_and_another_when_it_is_refused(ask, fresh, server):
    make_secret(fresh, **OAUTH2)
    _, records = ask("/secured", 5, of=fresh, **AT_TEST)
    assert {record["httpResponse"]["as"] for record in records} == {"Bearer token-1"}
    _, records = ask("/secured", 5, of=fresh, **AT_TEST)
    assert {record["httpResponse"]["as"] for record in records} == {"Bearer token-2"}
    assert server.counts["/token"] == 2
    sent = next(seen for seen in server.seen if seen.path == "/token")
    assert parse_qs(sent.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["me & you"],
        "client_secret": ["hush+hush"],
    }


def test_client_credentials_may_go_in_the_header_and_the_secret_says_where(ask, fresh, server):
    secret_id = str(uuid.uuid4())
    wider = {"tokenUrl": "http://test.example/token", "audience": "mine", "scope": "read write"}
    assert make_secret(fresh, **OAUTH2, **wider, id=secret_id)["id"] == secret_id
    elsewhere = {"accessTokenURL": "http://127.0.0.1/x", "clientAuthentication": "header", "headerPrefix": "JWT"}
    _, [record] = ask("/secured", of=fresh, authType="oAuth2", oAuth2Authentication=elsewhere)
    assert record["httpResponse"] == {"as": "JWT token-1"}
    token_call = server.seen[0]
    assert token_call.headers["Authorization"] == "Basic " + base64.b64encode(b"me+%26+you:hush%2Bhush").decode()
    assert parse_qs(token_call.body.decode()) == {
        "grant_type": ["client_credentials"],
        "audience": ["mine"],
        "scope": ["read write"],
    }


def test_basic_and_bearer(ask, fresh):
    make_secret(fresh, type="basic", username="ann", password="pä:ss")
    _, [record] = ask("/secured", of=fresh, authType="basic")
    assert base64.b64decode(record["httpResponse"]["as"].removeprefix("Basic ")).decode() == "ann:pä:ss"
    named = make_secret(fresh, id=str(uuid.uuid4()), type="bearer", token="abc")
    entry = {"secretId": named["id"], "secretType": "bearer"}
    _, [record] = ask("/secured", of=fresh, authType="bearer", secretsWalletEntry=entry)
    assert record["httpResponse"] == {"as": "Bearer abc"}


def test_credentials_may_stand_in_the_document_itself(ask, fresh, server):
    hidden = {"secret": True, "value": "pass"}
    _, [record] = ask(
        "/secured", of=fresh, authType="basic", basicAuthentication={"username": "test", "password": hidden}
    )
    assert base64.b64decode(record["httpResponse"]["as"].removeprefix("Basic ")) == b"test:pass"
    own = {"accessTokenURL": "http://test.example/token", "clientId": "me", "clientSecret": hidden}
    _, [record] = ask("/secured", of=fresh, authType="oAuth2", oAuth2Authentication=own)
    assert record["httpResponse"] == {"as": "Bearer token-1"}
    run, _ = ask(
        "/secured", of=fresh, authType="basic", basicAuthentication={"username": "test", "password": {"secret": True}}
    )
    assert (run["status"], "no basic secret" in run["error"]) == ("aborted", True)


def test_without_a_token_records_are_rejected_with_the_reason(ask, fresh, installation):
    make_secret(fresh, **OAUTH2, tokenUrl="http://test.example/text")
    run, _ = ask("/secured", 2, of=fresh, authType="oAuth2")
    assert [error for error, _ in rejections(installation, run)] == [
        "no token: the token URL's answer holds no access_token"
    ] * 2


def test_a_stream_written_for_the_official_server_makes_meter_types_on_this_one(ask, fresh, installation, server):
    made = installation.run("applications", "create", "--account", account_of(fresh), "--name", "stream")
    make_secret(fresh, type="oauth2", clientId=made["clientId"], clientSecret=made["clientSecret"])
    name = f"L1 {uuid.uuid4().hex}"
    schedule = {"day": "1", "hour": "0", "minute": "0", "month": "*", "weekday": "*"}
    meter_type = {"name": f"{name} ${{payload.value}}", "unit": "API request", "aggregation": {"type": "sum"}}
    official = {
        "authentication": "password",
        "authType": "oAuth2",
        "cacheSeconds": 300,
        "errorMode": "defer",
        "method": "POST",
        "oAuth2Authentication": {
            "accessTokenURL": f"{OFFICIAL}/authentication/v1/oauth/token",
            "audience": f"{OFFICIAL}/",
            "clientAuthentication": "sendInBody",
            "headerPrefix": "Bearer",
        },
        "retries": 1,
        "shouldRetry": False,
        "uri": f"{OFFICIAL}/usage-metering/v1/meter-types",
        "useCache": False,
        "useMockData": True,
        "useResponseHeaderKey": True,
    }
    body = meter_type | {"resetSchedule": schedule, "timezone": "Etc/UTC"}
    run, records = ask("", 2, of=fresh, **official | {"body": body})
    assert run["nodes"]["http"]["rejected"] == 0, rejections(installation, run)
    assert [record["httpResponseStatus"] for record in records] == [201, 201]
    find = official | {"method": "GET", "qs": {"name": f"{name} ${{payload.value}}"}, "useResponseHeaderKey": False}
    _, [found] = ask("", 1, of=fresh, **find)
    [meter_type] = found["httpResponse"]["meterTypes"]
    assert meter_type["id"] == records[0]["httpResponse"]["id"]
    delete = official | {"method": "DELETE", "uri": f"{OFFICIAL}/usage-metering/v1/meter-types/{meter_type['id']}"}
    _, [deleted] = ask("", 1, of=fresh, **delete)
    assert deleted["httpResponseStatus"] == 200


def account_of(client):
    token = client.headers["Authorization"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(token + "=="))["accountId"]


# --- secrets -----------------------------------------------------------------------------------------------------


def test_a_secret_is_stored_encrypted_and_never_shown_again(fresh, stranger, installation):
    made = make_secret(fresh, **OAUTH2)
    assert set(made) == {"id", "name", "type", "createdAt"}
    assert fresh.get(SECRETS).json() == {"secrets": [made]}
    with psycopg.connect(installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")) as database:
        [stored] = database.execute("SELECT encrypted FROM account_secrets WHERE id = %s", [made["id"]]).fetchone()
    assert b"hush" not in stored
    refused(stranger.delete(f"{SECRETS}/{made['id']}"), 404)
    refused(fresh.post(SECRETS, json=OAUTH2 | {"name": made["name"]}), 409)
    assert fresh.delete(f"{SECRETS}/{made['id']}").json() == {"deletedCount": 1}
    refused(fresh.delete(f"{SECRETS}/{made['id']}"), 404)
    assert fresh.get(SECRETS).json() == {"secrets": []}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name": "x"}, "type"),
        ({"name": "x", "type": "cookie"}, "type"),
        ({"name": "x", "type": "basic", "username": "u"}, "password"),
        ({"name": "", "type": "bearer", "token": "t"}, "name"),
        ({"name": "x", "type": "bearer", "token": "t", "extra": 1}, "extra"),
        (OAUTH2 | {"name": "x", "tokenUrl": "ftp://x"}, "tokenUrl"),
    ],
)
def test_a_bad_secret_names_what_is_bad(client, body, path):
    assert paths_of(refused(client.post(SECRETS, json=body), 400)) == [path]


def test_secrets_need_the_scopes_of_streams(installation, api):
    with make_tenant(installation, api.base_url, "read:streams").client() as reader:
        assert reader.get(SECRETS).status_code == 200
        refused(reader.post(SECRETS, json=OAUTH2 | {"name": "x"}), 401)


# --- where calls may go ------------------------------------------------------------------------------------------


def call(url, hosts=(), **members):
    async def run():
        client = Outbound(dict(hosts))
        try:
            return await client.call(Call("GET", url, **members))
        finally:
            await client.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost.",
        "LOCALHOST",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:8.8.8.8]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "127。0。0。1",
    ],
)
def test_addresses_that_are_not_public_are_refused(server, host):
    with pytest.raises(CallFailedError, match=r"is not public|is unknown|Invalid IPv4"):
        call(f"http://{host}:{server.server_port}/counted")
    assert server.seen == []


@pytest.mark.parametrize(
    "url", ["ftp://x/", "file:///etc/passwd", "//x/", "x", "http://", "http://a:b@x/", "http://a b\n/", "gopher://x"]
)
def test_urls_that_are_not_http_are_refused(url):
    with pytest.raises(CallFailedError):
        call(url)


def resolving(monkeypatch, *answers):
    """Each look-up of any name gives the next of the answers, which are lists of addresses."""
    asked = []

    def look_up(host, port, *arguments, **named):
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_name_with_one_private_address_among_its_addresses_is_refused(monkeypatch, server):
    resolving(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    with pytest.raises(CallFailedError, match="not public"):
        call(f"http://rebound.example:{server.server_port}/counted")


def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch, server):
    """A name that changes its mind after the check changes nothing; the server sees the name."""
    asked = resolving(monkeypatch, ["127.0.0.1"], ["192.0.2.1"])
    monkeypatch.setattr(outbound, "is_public", lambda address: True)
    answer = call(f"http://checked.example:{server.server_port}/echo")
    assert asked == ["checked.example"]
    assert json.loads(answer.body)["headers"]["host"] == f"checked.example:{server.server_port}"


def test_an_address_that_does_not_connect_is_followed_by_the_next(monkeypatch, server):
    resolving(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    monkeypatch.setattr(outbound, "is_public", lambda address: True)
    assert call(f"http://twice.example:{server.server_port}/counted").status == 200


def test_tls_is_spoken_with_the_name(monkeypatch):
    """The server's name in the handshake is the host, not its address."""
    resolving(monkeypatch, ["127.0.0.1"])
    monkeypatch.setattr(outbound, "is_public", lambda address: True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        said = []

        def accept():
            connection, _ = listening.accept()
            with connection:
                said.append(connection.recv(4096))

        thread = threading.Thread(target=accept)
        thread.start()
        with pytest.raises(CallFailedError):
            call(f"https://named.example:{listening.getsockname()[1]}/")
        thread.join(timeout=10)
    assert b"named.example" in said[0]


def test_a_mapped_host_is_replaced_by_its_base_url(server):
    base_url = f"http://127.0.0.1:{server.server_port}/"
    assert call("https://Inside.Example.:444/echo?a=%2F", {"inside.example": base_url}).status == 200
    assert server.seen[0].query == {"a": ["/"]}
    with pytest.raises(CallFailedError, match="the call failed"):
        call("http://inside.example/", {"inside.example": f"http://127.0.0.1:{free_port()}"})


@pytest.mark.parametrize(
    "hosts",
    ['{"A.example": "http://x"}', '{"a:1": "http://x"}', '{"": "http://x"}', '{"a": "x"}', '{"a": "http://u@x"}', "a"],
)
def test_mapped_hosts_are_checked_at_the_start(hosts):
    with pytest.raises(SettingsError, match="METERHOUSE_HTTP_HOSTS"):
        read_settings({"METERHOUSE_HTTP_HOSTS": hosts})
