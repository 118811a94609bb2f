"""Requests of gateways and callbacks that meter by themselves, replayed byte for byte (reference: metering 1 and 4)."""

import socket

import pytest

from .make import add_meter, values

LITELLM = (
    "POST /api/v1/events HTTP/1.1\r\n"
    "Host: meterhouse.test:8000\r\n"
    "Accept: */*\r\n"
    "Accept-Encoding: gzip, deflate, zstd\r\n"
    "Connection: keep-alive\r\n"
    "User-Agent: litellm/1.80.0\r\n"
    "Content-Type: application/cloudevents+json\r\n"
    "Authorization: Bearer {key}\r\n"
    "Content-Length: {length}\r\n"
    "\r\n"
    '{{"specversion": "1.0", "type": "litellm_tokens", "id": "chatcmpl-BkqvMJ1a2b3c", "time": '
    '"2025-06-21T09:15:42.123456+00:00", "subject": "user-1", "source": "litellm-proxy", "data": {{"model": "gpt-4o", '
    '"cost": 7.5e-06, "prompt_tokens": 12, "completion_tokens": 30, "total_tokens": 42}}}}'
)

# The gateway's OpenMeterInboundPolicy, which takes anything but 204 for an error.
OPENMETER_POLICY = (
    "POST /api/v1/events HTTP/1.1\r\n"
    "host: meterhouse.test:8000\r\n"
    "connection: keep-alive\r\n"
    "content-type: application/cloudevents-batch+json\r\n"
    "authorization: Bearer {key}\r\n"
    "accept: */*\r\n"
    "accept-language: *\r\n"
    "sec-fetch-mode: cors\r\n"
    "user-agent: node\r\n"
    "accept-encoding: gzip, deflate\r\n"
    "content-length: {length}\r\n"
    "\r\n"
    '[{{"specversion":"1.0","id":"a0e1c7c2-0b1f-4a52-9f5e-2f1f4d1f7d11-requests","source":"api-gateway","type":"requests",'
    '"subject":"consumer-1","data":{{"total":1,"method":"GET","route":"/v1/things"}}}},{{"specversion":"1.0","id":'
    '"9d2c7a50-6a7e-4d55-8f0b-7f6b3f0c9a22-requests","source":"api-gateway","type":"requests","subject":"consumer-1","data":'
    '{{"total":2,"method":"GET","route":"/v1/things"}}}}]'
)

# The gateway's own metering: a list without times, with the subscription as an extension attribute.
METERING_POLICY = (
    "POST /v3/metering/{bucket}/events HTTP/1.1\r\n"
    "host: meterhouse.test:8000\r\n"
    "connection: keep-alive\r\n"
    "Content-Type: application/json\r\n"
    "Authorization: Bearer {key}\r\n"
    "zp-rid: 5f3bd4e0-0f4a-4c12-9d0b-0a1b2c3d4e5f\r\n"
    "zp-dn: gateway-main-1234567\r\n"
    "User-Agent: Zuplo/1.0\r\n"
    "zp-compat-date: 2025-02-06\r\n"
    "accept: */*\r\n"
    "accept-encoding: gzip, deflate\r\n"
    "content-length: {length}\r\n"
    "\r\n"
    '[{{"type":"requests","id":"4b6f1c9e-3c0a-4f3e-9f59-6f1f0a8f7e10","specversion":"1.0","source":"monetization-policy",'
    '"subject":"consumer-1","data":{{"total":3}},"subscription":"sub_01H9"}},{{"type":"requests","id":'
    '"c1d2e3f4-0a1b-4c2d-8e3f-4a5b6c7d8e9f","specversion":"1.0","source":"monetization-policy","subject":"consumer-2","data":'
    '{{"total":4}},"subscription":"sub_01HA"}}]'
)


@pytest.fixture
def place(installation, make_bucket):
    """A bucket and a key of it alone, as gateways have one."""
    made = make_bucket()
    key = installation.run("api-keys", "create", "--account", made.account_id, "--bucket", made.id, "--name", "gateway")
    yield made, key["apiKey"]
    for client in (made.root, made.seed, made.openmeter):
        client.close()


def replay(place, recorded: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to exactly these bytes."""
    made, key = place
    body = recorded.partition("\r\n\r\n")[2].replace("{{", "{").replace("}}", "}")
    request = recorded.format(key=key, bucket=made.id, length=len(body)).encode()
    with socket.create_connection((made.root.base_url.host, made.root.base_url.port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65_536)
        head, _, rest = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(rest) < int(headers.get("content-length", 0)):
            rest += connection.recv(65_536)
    return int(first.split()[1]), headers, rest


def query(place, slug, **params):
    answer = place[0].seed.get(f"/meters/{slug}/query", params=params)
    assert answer.status_code == 200, answer.text
    return answer


def test_litellms_callback_is_counted_to_the_last_digit(place):
    add_meter(
        place[0].seed, slug="cost", eventType="litellm_tokens", valueProperty="$.cost", groupBy={"model": "$.model"}
    )
    add_meter(place[0].seed, slug="tokens", eventType="litellm_tokens", valueProperty="$.total_tokens")
    assert replay(place, LITELLM)[0] == 204
    assert '"value":0.0000075,' in query(place, "cost", groupBy="model").text
    assert values(query(place, "tokens", subject="user-1").json()["data"]) == [42]


def test_the_openmeter_policy_gets_exactly_204_with_nothing_in_it(place):
    add_meter(place[0].openmeter, slug="requests", eventType="requests", valueProperty="$.total")
    status, headers, body = replay(place, OPENMETER_POLICY)
    assert (status, body) == (204, b"")
    assert "content-type" not in headers
    assert values(query(place, "requests").json()["data"]) == [3]


def test_the_metering_policy_is_counted_by_subscription(place):
    add_meter(place[0].seed, slug="requests", eventType="requests", valueProperty="$.total")
    status, headers, _ = replay(place, METERING_POLICY)
    assert 200 <= status < 300
    assert headers["content-type"] == "application/json"
    assert values(query(place, "requests", filterSubscription="sub_01H9").json()["data"]) == [3]
    assert values(query(place, "requests").json()["data"]) == [7]


@pytest.mark.parametrize(
    "recorded", [LITELLM, OPENMETER_POLICY, METERING_POLICY], ids=["litellm", "openmeter", "metering"]
)
def test_a_retry_of_the_same_bytes_counts_once(place, recorded):
    add_meter(place[0].seed, slug="count", aggregation="COUNT", eventType="requests")
    add_meter(place[0].seed, slug="count_litellm", aggregation="COUNT", eventType="litellm_tokens")
    first = replay(place, recorded)[0]
    once = [query(place, slug).json()["data"] for slug in ("count", "count_litellm")]
    for _ in range(3):  # as often as the gateway tries
        assert replay(place, recorded)[0] == first
    again = [query(place, slug).json()["data"] for slug in ("count", "count_litellm")]
    assert [values(rows) for rows in again] == [values(rows) for rows in once]
    assert sum(sum(values(rows)) for rows in once) in (1, 2)
