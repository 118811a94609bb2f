"""What may be sent to a collector, what is kept of it, and what is answered."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.conftest import TLS
from tests.tenants import make_tenant, paths_of, refused

from .conftest import COLLECTORS

VERBATIM = [
    "{}",
    '{"a": 1.10, "b":1e2,   "c": [ 1 , 2 ]}',
    '{"big": 123456789012345678901234567890.000000000000000000010, "z": -0.0, "a": 1E+05}',
    '{"b": 1, "a": {"d": null, "c": true}}',
    '{"escaped": "\\u00e4\\/\\n\\ud83d\\ude00", "plain": "ä😀"}',
    '""',
    '"one opaque record"',
    '"{\\"a\\": 1}\\n{\\"a\\": 2}"',
    '{"control": "\\u0001\\u007f"}',
    '{"%s": "%%s", "x\': --": "$1 \\\\ %(rows)s"}',
]


@pytest.mark.parametrize("data", VERBATIM)
def test_data_is_kept_exactly_as_it_was_sent(client, send_url, inbox, data):
    answer = client.post(send_url, content=f' {{ "data" : {data} }} ')
    assert (answer.status_code, list(answer.json())) == (202, ["ingestionId"])
    assert [(ingestion_id, text) for _, ingestion_id, text in inbox()] == [(answer.json()["ingestionId"], data)]


def test_an_ingestion_can_be_looked_up(client, collector, send_url):
    ingestion_id = client.post(send_url, json={"data": {}}).json()["ingestionId"]
    answer = client.get(f"{COLLECTORS}/{collector['id']}/ingestions/{ingestion_id}")
    assert answer.status_code == 200
    assert answer.json() == {
        "ingestionId": ingestion_id,
        "collectorId": collector["id"],
        "receivedAt": answer.json()["receivedAt"],
        "status": "STORED",
    }
    assert answer.json()["receivedAt"].endswith("Z")


def test_an_ingestion_is_found_in_its_own_collector_only(client, make_collector, stranger):
    first, second = make_collector("first"), make_collector("second")
    sent = client.post(f"{COLLECTORS}/{first['id']}/send", json={"data": {}}).json()["ingestionId"]
    refused(client.get(f"{COLLECTORS}/{second['id']}/ingestions/{sent}"), 404)
    refused(stranger.get(f"{COLLECTORS}/{first['id']}/ingestions/{sent}"), 404)
    refused(client.get(f"{COLLECTORS}/{first['id']}/ingestions/{uuid.uuid4()}"), 404)
    bad = client.get(f"{COLLECTORS}/{first['id']}/ingestions/nothing")
    assert paths_of(refused(bad, 400)) == ["ingestionId"]


def test_the_same_sent_twice_is_two_ingestions_in_the_order_of_arrival(client, send_url, inbox):
    sent = [client.post(send_url, json={"data": {"n": n % 2}}).json()["ingestionId"] for n in range(6)]
    assert len(set(sent)) == 6
    assert [ingestion_id for _, ingestion_id, _ in inbox()] == sent


@pytest.mark.parametrize("data", ["[]", "[{}]", "1", "1.5", "true", "false", "null"])
def test_data_that_is_neither_object_nor_text_is_refused(client, send_url, inbox, data):
    assert paths_of(refused(client.post(send_url, content=f'{{"data": {data}}}'), 400)) == ["data"]
    assert inbox() == []


def test_missing_data_and_unknown_members_are_named(client, send_url):
    assert paths_of(refused(client.post(send_url, json={}), 400)) == ["data"]
    assert paths_of(refused(client.post(send_url, json={"data": {}, "more": 1, "id": 2}), 400)) == ["more", "id"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "{",
        "[]",
        '"x"',
        "null",
        '{"data": {}}}',
        '{"data": {"a": NaN}}',
        '{"data": {"a": 01}}',
        '{"data": {"a": 1,}}',
        "{'data': {}}",
        '{"data": {}, "data": {}}',
        '{"data": {"a": 1, "a": 1}}',
        '{"data": {"a": [{"b": 1, "b": 2}]}}',
        '{"data": "line\nbreak"}',
        b'{"data": "\xff"}',
        b'\xef\xbb\xbf{"data": {}}',
        '{"data": {}}'.encode("utf-16"),
        '{"data": ' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "}",
    ],
)
def test_what_is_not_strict_json_is_refused(client, send_url, inbox, body):
    refused(client.post(send_url, content=body), 400)
    assert inbox() == []


UNSTORABLE = [
    '"\\u0000"',
    '{"a": "\\u0000"}',
    '{"a\\u0000": 1}',
    '{"a": ["\\ud800"]}',
    '{"a": "\\udc00\\ud800"}',
    '{"a": 1e999999}',
    '{"a": 1e-999999}',
    '{"a": 1e99999999999999999999}',
    '{"a": %s}' % ("9" * 5_000),
    '{"a": 0.%s}' % ("1" * 5_000),
]


@pytest.mark.parametrize("data", UNSTORABLE)
def test_what_the_database_cannot_keep_is_refused_by_name(client, send_url, inbox, data):
    assert paths_of(refused(client.post(send_url, content=f'{{"data": {data}}}'), 400)) == ["data"]
    assert inbox() == []


def test_bad_neighbours_at_the_same_time_do_no_harm(client, send_url, inbox):
    bodies = [f'{{"data": {data}}}' for n in range(60) for data in (f'{{"n": {n}}}', UNSTORABLE[n % len(UNSTORABLE)])]
    unknown = f"{COLLECTORS}/{uuid.uuid4()}/send"
    urls = [unknown if n % 10 == 9 else send_url for n in range(120)]
    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda url, body: client.post(url, content=body).status_code, urls, bodies))
    assert codes == [400 if n % 2 else 202 for n in range(120)]
    assert sorted(json.loads(data)["n"] for _, _, data in inbox()) == list(range(60))


def test_unknown_collectors_among_known_ones_do_no_harm(client, send_url, inbox):
    urls = [f"{COLLECTORS}/{uuid.uuid4()}/send", send_url] * 40
    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda url: client.post(url, json={"data": {}}).status_code, urls))
    assert codes == [404, 202] * 40
    assert len(inbox()) == 40


MEBIBYTE = 1024 * 1024


def body_of(size):
    return b'{"data":"' + b"x" * (size - 11) + b'"}'


def test_a_body_has_at_most_a_mebibyte(client, send_url, inbox):
    assert client.post(send_url, content=body_of(MEBIBYTE)).status_code == 202
    assert refused(client.post(send_url, content=body_of(MEBIBYTE + 1)), 413)["error"] == "Content Too Large"
    chunked = (body_of(MEBIBYTE + 1)[start : start + 65536] for start in range(0, MEBIBYTE + 1, 65536))
    refused(client.post(send_url, content=chunked), 413)
    assert [len(data) for _, _, data in inbox()] == [MEBIBYTE - 9]


def test_a_large_object_is_kept_to_the_letter(client, send_url, inbox):
    data = json.dumps({"records": [{"n": n, "value": "0.10"} for n in range(20_000)]})
    assert client.post(send_url, content=f'{{"data": {data}}}').status_code == 202
    assert [text for _, _, text in inbox()] == [data]


def test_many_large_bodies_at_once_are_all_kept(client, send_url, inbox):
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: client.post(send_url, content=body_of(MEBIBYTE)), range(24)))
    assert {answer.status_code for answer in answers} == {202}
    assert sorted(one for _, one, _ in inbox()) == sorted(answer.json()["ingestionId"] for answer in answers)


def test_no_token_a_wrong_one_and_a_missing_scope_are_unauthorized(installation, api, client, send_url, collector):
    bare = httpx.post(api.base_url + send_url, json={"data": {}}, verify=TLS)
    assert refused(bare, 401)["error"] == "Unauthorized"
    wrong = httpx.post(api.base_url + send_url, json={"data": {}}, headers={"Authorization": "Bearer x"}, verify=TLS)
    refused(wrong, 401)
    reader = make_tenant(installation, api.base_url, "read:collectors")
    with reader.client() as reading:
        refused(reading.post(send_url, json={"data": {}}), 401)
        assert reading.get(COLLECTORS).status_code == 200


def test_the_rates_are_those_of_the_product(start_api, tenant, collector, send_url):
    limited = start_api(METERHOUSE_RATE_LIMITS="{}")
    with tenant.client(limited.base_url) as client:
        sent = client.post(send_url, json={"data": {}})
        assert sent.headers["ratelimit-policy"] == '"send_data";q=1000;w=1'
        listed = client.get(COLLECTORS)
        assert listed.headers["ratelimit-policy"] == '"list_collectors";q=100;w=30'
        renames = [client.patch(f"{COLLECTORS}/{collector['id']}", json={"name": "Usage"}) for _ in range(2)]
        assert [answer.status_code for answer in renames] == [200, 429]
        assert renames[1].headers["retry-after"] == "1"
