"""The list of streams: by name, collector, meter key and aggregation store."""

# ruff: noqa: F811 - the fixtures that are imported are the parameters

import uuid

import pytest

from tests.streams.test_runs import STREAMS, collector_id, edge, imported, make_document, node  # noqa: F401 - fixtures
from tests.tenants import paths_of, refused

RULES = [{"ignoreCondition": True, "matchCategory": "DEFAULT"}]


def collecting(collector, **members):
    """A collector that leads to a Script aggregator and a Meter processor."""
    return make_document(
        [
            node("collect", "readers/online_collection", collectorId=collector),
            node("correlate", "transforms/script_aggregate", groupByRules=[{"fields": ["a"]}], onTransform="1"),
            node("meter", "transforms/meter", guidingRules=RULES),
        ],
        [edge("collect", "correlate"), edge("correlate", "meter")],
        **members,
    )


def listed(client, **params):
    answer = client.get(STREAMS, params=params)
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["streams"]
    return [stream["id"] for stream in answer.json()["streams"]]


@pytest.fixture
def pair(imported, collector_id):
    """Two streams that read one collector, in the order of their names."""
    mark = uuid.uuid4().hex
    return [imported(collecting(collector_id, name=f"{letter} {mark}")) for letter in "AB"]


def test_each_filter_finds_the_streams_that_it_is_about(client, pair, collector_id):
    first, second = (made["id"] for made in pair)
    assert listed(client, collectorId=collector_id) == [first, second]
    assert listed(client, collectorId=collector_id.upper()) == [first, second]
    assert listed(client, collectorId=str(uuid.uuid4())) == []
    assert listed(client, meterKey=pair[1]["meterKeys"]["meter"]) == [second]
    assert listed(client, meterKey=str(uuid.uuid4())) == []
    assert listed(client, aggregationStoreId=pair[0]["aggregationStores"]["correlate"]) == [first]
    assert listed(client, aggregationStoreId="0" * 40) == []


def test_filters_hold_together_and_are_paged(client, pair, collector_id):
    first, second = (made["id"] for made in pair)
    mark = pair[0]["name"].removeprefix("A ")
    assert listed(client, collectorId=collector_id, name=f"a {mark.upper()}") == [first]
    assert listed(client, collectorId=collector_id, meterKey=pair[1]["meterKeys"]["meter"]) == [second]
    key, other_store = pair[1]["meterKeys"]["meter"], pair[0]["aggregationStores"]["correlate"]
    assert listed(client, meterKey=key, aggregationStoreId=other_store) == []
    assert listed(client, collectorId=collector_id, limit=1) == [first]
    assert listed(client, collectorId=collector_id, limit=1, skip=1) == [second]
    assert listed(client, collectorId=collector_id, skip=2) == []


def test_a_collector_that_only_the_deployed_version_reads_counts_until_another_is_deployed(
    client,
    imported,
    collector_id,
):
    made = imported(collecting(collector_id))
    client.post(f"{STREAMS}/{made['id']}/deploy").raise_for_status()
    without = make_document([node("count", "readers/counter", max=1)], [], name=made["name"])
    replaced = imported(without, conflictStrategy="overwrite", allowNodeDeletions=True)
    assert (replaced["id"], replaced["meterKeys"]) == (made["id"], made["meterKeys"])
    assert listed(client, collectorId=collector_id) == [made["id"]]
    client.post(f"{STREAMS}/{made['id']}/undeploy").raise_for_status()
    assert listed(client, collectorId=collector_id) == []
    told = client.get(f"{STREAMS}/{made['id']}").json()
    assert (told["meterKeys"], told["aggregationStores"]) == ({}, {})


def test_another_accounts_streams_are_not_listed(stranger, pair, collector_id):
    assert listed(stranger, collectorId=collector_id) == []
    assert listed(stranger, meterKey=pair[0]["meterKeys"]["meter"]) == []
    assert listed(stranger, aggregationStoreId=pair[0]["aggregationStores"]["correlate"]) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("collectorId", "x"),
        ("meterKey", ""),
        ("meterKey", "x" * 37),
        ("meterKey", "\x00"),
        ("aggregationStoreId", "0" * 39),
        ("aggregationStoreId", "G" * 40),
        ("name", "\x00"),
        ("limit", "101"),
        ("skip", "-1"),
    ],
)
def test_a_bad_filter_is_named(client, name, value):
    assert paths_of(refused(client.get(STREAMS, params={name: value}), 400)) == [name]
