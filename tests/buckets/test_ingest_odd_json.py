"""Texts, numbers and nestings that break databases: refused or stored, and never anybody else's trouble."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from .make import JSON, add_meter, by_subject, count_events, ingest, make_event, query, refused

TEXTS = ["\u0000", "a\u0000b", "\ud800", "a\udfff", "\udc00\ud800"]
CONTROLS = ["\u0001", "a\nb", "\u001f", "\u007f", "\u0085"]


@pytest.mark.parametrize("text", TEXTS + CONTROLS)
@pytest.mark.parametrize("name", ["id", "source", "type", "subject"])
def test_an_attribute_without_printable_text_is_refused(shared_mount, name, text):
    refused(shared_mount.post("/events", content=json.dumps([make_event(**{name: text})]), headers=JSON))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("data", ['{"a": "?"}', '{"?": 1}', '{"a": [{"b": "?"}]}'])
def test_data_that_no_text_can_hold_is_refused(shared_mount, data, text):
    data = json.loads(data.replace('"?"', json.dumps(text)))
    refused(shared_mount.post("/events", content=json.dumps([make_event(data=data)]), headers=JSON))


@pytest.mark.parametrize("text", TEXTS)
def test_an_extension_that_no_text_can_hold_is_refused(shared_mount, text):
    refused(shared_mount.post("/events", content=json.dumps([make_event(subscription=text)]), headers=JSON))


@pytest.mark.parametrize("text", ["a\nb", "\t", "\u0001", "\u007f", "\\u0000", "\ufffe", "🧮", "\u202e"])
def test_data_may_hold_every_text_that_can_be_stored(mount, text):
    add_meter(mount, aggregation="COUNT", groupBy={"key": "$.key"})
    ingest(mount, make_event(data={"key": text}))
    assert [row["groupBy"]["key"] for row in query(mount, groupBy="key")] == [text]


def test_a_partial_batch_rejects_only_the_event_with_the_bad_text(mount):
    batch = [make_event(), make_event(data={"a": "\u0000"}), make_event()]
    assert mount.post("/events", json=batch, params={"partial": "true"}).is_success
    assert count_events(mount) == 2


def test_bad_neighbours_at_the_same_time_do_no_harm(bucket):
    bad = [
        json.dumps([make_event(data={"a": "\u0000"})]),
        json.dumps([make_event(subject="\ud800")]),
        json.dumps([make_event(time="never")]),
        "[" * 20_000,
    ]
    good = [json.dumps([make_event()]) for _ in range(60)]
    bodies = [body for number, one in enumerate(good) for body in (one, bad[number % len(bad)])]
    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda body: bucket.seed.post("/events", content=body, headers=JSON).status_code, bodies))
    assert codes == [200, 400] * 60
    assert count_events(bucket.seed) == 60


NUMBERS = [
    "1e999999",
    "-1e999999",
    "1e-999999",
    "1e131073",
    "1e400",
    "-1e400",
    "1e-400",
    "1E+05",
    "-0",
    "-0.0",
    "0e0",
    "9" * 5_000,
    "0." + "1" * 20_000,
    "1e99999999999999999999",
]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("quoted", [False, True])
def test_an_extreme_number_never_breaks_ingest_or_queries(bucket, number, quoted):
    for slug, aggregation in (("usage", "SUM"), ("average", "AVG"), ("latest", "LATEST"), ("unique", "UNIQUE_COUNT")):
        add_meter(bucket.seed, slug=slug, aggregation=aggregation, groupBy={"key": "$.key"})
    spelled = f'"{number}"' if quoted else number
    content = json.dumps([make_event(data={"value": "?", "key": "?"})]).replace('"?"', spelled)
    assert bucket.seed.post("/events", content=content, headers=JSON).status_code in (200, 400)
    ingest(bucket.seed, make_event(subject="sane"))
    for slug in ("usage", "average", "latest", "unique"):
        assert by_subject(query(bucket.seed, slug, groupBy="subject"))["sane"] == 1
        assert bucket.seed.get(f"/meters/{slug}/query", params={"groupBy": "key"}).status_code == 200
        assert bucket.seed.get(f"/meters/{slug}/query").status_code == 200
    assert bucket.openmeter.get("/events", params={"from": "2025-01-01T00:00:00Z"}).status_code < 500


def test_many_large_numbers_never_break_a_sum(bucket):
    add_meter(bucket.seed)
    content = json.dumps([make_event(data={"value": "?"}) for _ in range(20)]).replace('"?"', "9e307")
    assert bucket.seed.post("/events", content=content, headers=JSON).status_code in (200, 400)
    assert bucket.seed.get("/meters/usage/query").status_code == 200


@pytest.mark.parametrize("depth", [100, 1_000, 20_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_never_breaks_the_server(bucket, depth, left, right):
    inner = "1" if left != "[" else ""
    nested = left * min(depth, 60_000 // len(left + right)) + inner + right * min(depth, 60_000 // len(left + right))
    content = json.dumps([make_event(data={"value": 1, "deep": "?"})]).replace('"?"', nested)
    assert bucket.seed.post("/events", content=content, headers=JSON).status_code in (200, 400)
    assert bucket.seed.post("/events", content=nested, headers=JSON).status_code == 400
    ingest(bucket.seed, make_event(subject="sane"))
    add_meter(bucket.seed)
    assert by_subject(query(bucket.seed, groupBy="subject"))["sane"] == 1


@pytest.mark.parametrize("depth", [1_000, 200_000])
@pytest.mark.parametrize("path", ["/meters", "/meters/usage/query"])
def test_deep_nesting_in_other_bodies_is_refused(shared_mount, path, depth):
    content = '{"metadata": ' + '{"a":' * depth + "1" + "}" * depth + "}"
    shared_mount.post("/meters", json={"slug": "usage", "aggregation": "COUNT", "eventType": "request"})
    assert shared_mount.post(path, content=content, headers=JSON).status_code in (200, 400, 413)
    assert shared_mount.get("/meters").status_code == 200


@pytest.mark.parametrize(
    "double",
    ['"id": "other"', '"subject": "bob"', '"data": {"value": 5}', '"time": "2025-01-15T11:00:00Z"', '"type": 5'],
)
def test_a_member_written_twice_never_breaks_the_server(bucket, double):
    content = json.dumps(make_event())[:-1] + f", {double}}}"
    answer = bucket.seed.post("/events", content=content, headers=JSON)
    assert answer.status_code in (200, 400)
    assert count_events(bucket.seed) == (1 if answer.status_code == 200 else 0)
