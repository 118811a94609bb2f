"""writers/http: records of streams leave as signed webhooks, after the commit of their step."""

import base64
import itertools
import time
import uuid

import pytest
from standardwebhooks import Webhook

from tests.streams.test_runs import counting, finished, node, outputs, start
from tests.usage_engine import assert_names, created, ok, refused
from tests.webhooks.receiver import HOST
from tests.webhooks.test_deliveries import wait_until

STREAMS = "/stream-management/v1/streams"
SECRETS = "/stream-management/v1/secrets"

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def root(house, account):
    """The account's client, at the root of the API."""
    account.client.base_url = house.api.base_url
    return account.client


def make_secret(byte=b"s"):
    return "whsec_" + base64.b64encode(byte * 24).decode()


def add_secret(root, name="signing", byte=b"s"):
    body = {"type": "signing", "name": name, "secret": make_secret(byte)}
    return created(root.post(SECRETS, json=body))["id"]


def run_writer(root, records, uri, *before, **params):
    """The run of a stream that counts, and sends what it counted."""
    writer = node("send", "writers/http", uri=uri, **params)
    names = ["count", *(one["id"] for one in before), "send"]
    document = counting(records, *before, writer, edges=list(itertools.pairwise(names)))
    stream_id = created(root.post(f"{STREAMS}/import", json={"stream": document}))["id"]
    return finished(root, stream_id, start(root, stream_id))


def deliveries(root, run, **filters):
    return ok(root.get(f"{STREAMS}/{run['streamId']}/deliveries", params=filters))["deliveries"]


def test_each_record_is_sent_once_signed_and_kept_with_the_run(house, root):
    add_secret(root)
    hook = house.receiver.hook()
    run = run_writer(root, 25, hook.url)
    assert run["status"] == "completed"
    assert run["nodes"]["send"] == {"in": 25, "out": 25, "rejected": 0}
    assert outputs(root, run) == [("send", {"value": number}) for number in range(25)]
    calls = hook.wait_for_taken(25)
    wait_until(lambda: deliveries(root, run) == [])
    assert sorted(call.content["value"] for call in hook.taken) == list(range(25))
    assert len({call.id for call in hook.taken}) == len(hook.taken) == 25
    for call in calls:
        Webhook(make_secret()).verify(call.body, call.headers)


def test_the_record_is_sent_with_its_numbers_as_they_are(house, root):
    add_secret(root)
    hook = house.receiver.hook()
    script = node("script", "transforms/script", transform='await push({"z": 1.50, "a": payload.value, "n": null})')
    sums = node(
        "map", "transforms/xmap", mappings=[make_mapping("big", ["N", 9007199254740993])], keepFields={"enabled": True}
    )
    run_writer(root, 1, hook.url, script, sums)
    [call] = hook.wait_for_taken(1)
    assert call.body == '{"z":1.5,"a":0,"n":null,"big":9007199254740993}'


def make_mapping(field, ast):
    return {"field": field, "expression": "", "ast": ast, "errorMessage": ""}


def test_the_uri_is_filled_for_each_record(house, root):
    add_secret(root)
    hooks = [house.receiver.hook() for _ in range(2)]
    paths = [hook.url.rpartition("/")[2] for hook in hooks]
    script = node("script", "transforms/script", transform=f"await push({{path: {paths!r}[payload.value]}})")
    run_writer(root, 2, f"http://{HOST}/${{payload.path}}", script)
    assert [hook.wait_for_taken(1)[0].content["path"] for hook in hooks] == paths


def test_a_uri_that_cannot_be_called_rejects_the_record(house, root):
    add_secret(root)
    hook = house.receiver.hook()
    wanted = [hook.url, "", "ftp://x/", "http://127.0.0.1/", "http://localhost/"]
    script = node("script", "transforms/script", transform=f"await push({{to: {wanted!r}[payload.value]}})")
    run = run_writer(root, len(wanted), "${payload.to}", script)
    assert run["nodes"]["send"] == {"in": 5, "out": 1, "rejected": 4}
    hook.wait_for_taken(1)
    listed = ok(root.get("/data-correction/v1/records", params={"streamId": run["streamId"]}))["records"]
    errors = {one["payload"]["to"]: one["error"] for one in listed}
    assert "is not public" in errors["http://127.0.0.1/"]
    assert "is not public" in errors["http://localhost/"]
    assert "must begin with http" in errors["ftp://x/"]
    assert set(errors) == set(wanted[1:])


def test_the_secret_is_the_one_that_is_named_or_the_oldest(house, root):
    add_secret(root, "first", b"1")
    second = add_secret(root, "second", b"2")
    named, oldest = house.receiver.hook(), house.receiver.hook()
    run_writer(root, 1, named.url, secretId=second)
    run_writer(root, 1, oldest.url)
    for hook, byte in ((named, b"2"), (oldest, b"1")):
        [call] = hook.wait_for_taken(1)
        Webhook(make_secret(byte)).verify(call.body, call.headers)


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"uri": "http://hooks.example/"}, "no signing secret: create it"),
        ({"uri": "http://hooks.example/", "secretId": str(uuid.UUID(int=1))}, f"with the id {uuid.UUID(int=1)}"),
        ({"uri": "http://hooks.example/", "secretId": "x"}, "secretId must be"),
        ({"uri": ""}, "uri must be"),
    ],
)
def test_a_broken_writer_aborts_the_run_and_says_why(root, params, error):
    run = run_writer(root, 1, **params)
    assert run["status"] == "aborted"
    assert run["error"].startswith("Send: ")
    assert error in run["error"]


def test_a_run_that_aborts_sends_nothing_of_its_last_step(house, root):
    add_secret(root)
    hook, after = house.receiver.hook(), house.receiver.hook()
    script = node("script", "transforms/script", transform="if (payload.value === 2) throw new Error('no')")
    writer = node("send", "writers/http", uri=hook.url)
    document = counting(3, writer, script, edges=[("count", "send"), ("send", "log"), ("count", "script")])
    stream_id = created(root.post(f"{STREAMS}/import", json={"stream": document}))["id"]
    assert finished(root, stream_id, start(root, stream_id))["status"] == "aborted"
    run_writer(root, 1, after.url)
    after.wait_for_taken(1)
    assert hook.calls == []


def test_a_secret_that_is_gone_is_told_and_one_with_its_id_heals_it(house, root):
    secret_id = add_secret(root)
    hook = house.receiver.hook(500)
    run = run_writer(root, 1, hook.url)
    hook.wait_for_calls(1)
    assert ok(root.delete(f"{SECRETS}/{secret_id}")) == {"deletedCount": 1}
    wait_until(lambda: "secret was deleted" in deliveries(root, run)[0].get("lastError", ""))
    hook.answer = 200
    body = {"type": "signing", "name": "again", "id": secret_id, "secret": make_secret(b"n")}
    created(root.post(SECRETS, json=body))
    [call] = hook.wait_for_taken(1)
    Webhook(make_secret(b"n")).verify(call.body, call.headers)


def test_what_fails_for_a_day_is_parked_listed_and_keeps_the_stream_until_it_is_sent_or_deleted(house, account, root):
    add_secret(root)
    hook = house.receiver.hook(500)
    run = run_writer(root, 3, hook.url)
    stream = f"{STREAMS}/{run['streamId']}"
    hook.wait_for_calls(3)
    wait_until(lambda: all("lastError" in one for one in deliveries(root, run)))
    assert refused(root.delete(stream), 409)["message"].startswith("the stream has records that are not delivered")
    house.advance(account, days=1, hours=1)
    wait_until(lambda: len(deliveries(root, run, status="parked")) == 3)
    assert deliveries(root, run, status="pending") == []
    first, second, third = deliveries(root, run, limit=3)
    assert (first["url"], first["lastError"]) == (hook.url, "answered 500")
    hook.answer = 200
    assert ok(root.post(f"{stream}/deliveries/retry", json={"ids": [second["id"]]})) == {"retriedCount": 1}
    assert [call.id for call in hook.wait_for_taken(1)] == [second["id"]]
    wait_until(lambda: len(deliveries(root, run)) == 2)
    assert ok(root.post(f"{stream}/deliveries/delete", json={"ids": [first["id"]]})) == {"deletedCount": 1}
    refused(root.delete(stream), 409)
    assert ok(root.post(f"{stream}/deliveries/retry")) == {"retriedCount": 1}
    hook.wait_for_taken(2)
    wait_until(lambda: deliveries(root, run) == [])
    assert {call.id for call in hook.taken} == {second["id"], third["id"]}
    assert ok(root.delete(stream)) == {"deletedCount": 1}


def test_a_server_that_hangs_does_not_hold_up_the_others_of_its_stream(house, root):
    add_secret(root)
    hook = house.receiver.hook()
    slow = house.receiver.hook(lambda call: time.sleep(10) or 200)
    wanted = [slow.url.replace(HOST, "192.168.7.7"), hook.url]
    script = node("script", "transforms/script", transform=f"await push({{to: {wanted!r}[payload.value % 2]}})")
    run_writer(root, 60, "${payload.to}", script)
    hook.wait_for_taken(30)
    assert len(slow.taken) < 30
    slow.answer = 200
    wait_until(lambda: len({call.id for call in slow.taken}) == 30)


def test_nothing_of_it_exists_for_another_account(house, root):
    run_id = created(root.post(f"{STREAMS}/import", json={"stream": counting(1)}))["id"]
    with house.account() as stranger:
        stranger.client.base_url = house.api.base_url
        path = f"{STREAMS}/{run_id}/deliveries"
        refused(stranger.client.get(path), 404)
        refused(stranger.client.post(f"{path}/retry"), 404)
        refused(stranger.client.post(f"{path}/delete"), 404)
    assert ok(root.get(path)) == {"deliveries": []}


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("GET", "deliveries?status=delivered", None, "status"),
        ("GET", "deliveries?limit=101", None, "limit"),
        ("POST", "deliveries/retry", {"ids": []}, "ids"),
        ("POST", "deliveries/delete", {"ids": ["m"] * 1001}, "ids"),
    ],
)
def test_bad_input_names_its_field(root, method, path, body, field):
    stream_id = created(root.post(f"{STREAMS}/import", json={"stream": counting(1)}))["id"]
    assert_names(refused(root.request(method, f"{STREAMS}/{stream_id}/{path}", json=body)), field)


@pytest.mark.parametrize("secret", ["whsec_", "x" * 40, "whsec_" + base64.b64encode(b"x" * 23).decode(), 7])
def test_a_signing_secret_must_be_one(root, secret):
    body = {"type": "signing", "name": "s", "secret": secret}
    assert_names(refused(root.post(SECRETS, json=body)), "secret")


def test_a_signing_secret_is_never_shown(root):
    body = {"type": "signing", "name": "hidden", "secret": make_secret(b"h")}
    answer = root.post(SECRETS, json=body)
    created(answer)
    assert make_secret(b"h") not in answer.text
    assert make_secret(b"h") not in root.get(SECRETS).text
