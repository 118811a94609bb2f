"""OpenMeter's own Python SDK, given nothing but a base URL and a key."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from corehttp.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from openmeter import Client
from openmeter.aio import Client as AsyncClient

from .make import add_meter, ago, ingest, make_event, make_meter

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def place(installation, make_bucket):
    """A key of one bucket, so that no header names it, and that bucket."""
    made = make_bucket()
    key = installation.run("api-keys", "create", "--account", made.account_id, "--bucket", made.id, "--name", "sdk")
    return made, key["apiKey"]


@pytest.fixture
def sdk(place):
    made, key = place
    with Client(endpoint=str(made.root.base_url).rstrip("/"), token=key) as client:
        yield client
    for meter in made.openmeter.get("/meters").json():
        made.openmeter.delete(f"/meters/{meter['id']}")


def make_used(sdk, slug, *models):
    """A meter and one event for each model, of an event type of its own."""
    sdk.meters.create(make_meter(slug=slug, eventType=slug, groupBy={"model": "$.model"}))
    sdk.events.ingest_events(
        [make_event(type=slug, time=ago(hours=1), data={"value": 2, "model": model}) for model in models]
    )


def test_a_meter_is_created_shown_listed_and_deleted(sdk):
    created = sdk.meters.create(make_meter(slug="sdk_meter", groupBy={"model": "$.model"}, metadata={"a": "b"}))
    assert created.slug == "sdk_meter"
    assert sdk.meters.get("sdk_meter").id == created.id
    assert [meter.slug for meter in sdk.meters.list()] == ["sdk_meter"]
    sdk.meters.delete("sdk_meter")
    assert sdk.meters.list() == []


def test_a_meter_is_updated(sdk):
    sdk.meters.create(make_meter(slug="sdk_update"))
    assert sdk.meters.update("sdk_update", {"name": "New", "groupBy": {"a": "$.a"}}).name == "New"


def test_errors_are_the_exceptions_of_the_sdk(sdk):
    sdk.meters.create(make_meter(slug="sdk_errors"))
    with pytest.raises(ResourceExistsError):
        sdk.meters.create(make_meter(slug="sdk_errors"))
    with pytest.raises(ResourceNotFoundError):
        sdk.meters.get("nothing")
    with pytest.raises(HttpResponseError) as caught:
        sdk.meters.create(make_meter(slug="NO"))
    assert caught.value.status_code == 400
    assert caught.value.model.title == "Bad Request"


def test_one_event_and_many_are_counted(sdk):
    sdk.meters.create(make_meter(slug="sdk_events", eventType="sdk_events"))
    sdk.events.ingest_event(make_event(type="sdk_events", data={"value": 1}))
    sdk.events.ingest_events([make_event(type="sdk_events", data={"value": value}) for value in (10, 100)])
    assert [row.value for row in sdk.meters.query_json("sdk_events").data] == [111]


def test_an_empty_body_of_the_sdk_is_refused_in_words(sdk):
    with pytest.raises(HttpResponseError) as caught:
        sdk.events.ingest_events_json(make_event())
    assert caught.value.status_code == 400
    assert "empty" in caught.value.response.text().lower()


def test_a_query_takes_every_parameter(sdk):
    make_used(sdk, "sdk_query", "gpt-4", "gpt-4", "llama")
    now = datetime.now(UTC)
    result = sdk.meters.query_json(
        "sdk_query",
        from_parameter=now - timedelta(days=2),
        to=now + HOUR,
        window_size="MONTH",
        window_time_zone="Europe/Stockholm",
        subject=["alice", "bob"],
        group_by=["model", "subject"],
        filter_group_by={"model": "gpt-4"},
        client_id="client-1",
    )
    assert [(row.value, row.subject, row.group_by) for row in result.data] == [(4, "alice", {"model": "gpt-4"})]
    assert result.window_size == "MONTH"


def test_a_query_takes_advanced_filters(sdk):
    make_used(sdk, "sdk_advanced", "gpt-4", "llama")
    result = sdk.meters.query_json(
        "sdk_advanced", advanced_meter_group_by_filters={"model": {"$ne": "gpt-4"}}, group_by=["model"]
    )
    assert [(row.value, row.group_by) for row in result.data] == [(2, {"model": "llama"})]


def test_a_query_by_body(sdk):
    make_used(sdk, "sdk_body", "gpt-4", "llama")
    result = sdk.meters.query("sdk_body", {"groupBy": ["model"], "filterGroupBy": {"model": ["llama"]}})
    assert [(row.value, row.group_by) for row in result.data] == [(2, {"model": "llama"})]


def test_a_query_as_csv(sdk):
    make_used(sdk, "sdk_csv", "a")
    text = sdk.meters.query_csv("sdk_csv", group_by=["model"])
    assert text.startswith("window_start,window_end,model,value\n")
    assert text.endswith(",a,2.000000\n")
    assert sdk.meters.query_csv_post("sdk_csv").startswith("window_start,window_end,value\n")


def test_values_of_groups_and_subjects(sdk):
    make_used(sdk, "sdk_values", "b", "a")
    assert sdk.meters.list_group_by_values("sdk_values", "model") == ["a", "b"]
    from_, to = datetime.now(UTC) - 3 * HOUR, datetime.now(UTC) - 2 * HOUR
    assert sdk.meters.list_group_by_values("sdk_values", "model", from_parameter=from_, to=to) == []
    assert sdk.meters.list_subjects("sdk_values") == ["alice"]


def test_events_are_listed(sdk):
    make_used(sdk, "sdk_list", "a", "b", "c")
    listed = [item.event.id for item in sdk.events.list(limit=100) if item.event.type == "sdk_list"]
    paged = sdk.events_v2.list(limit=2, filter={"type": {"$eq": "sdk_list"}})
    assert sorted(listed) == sorted(item.event.id for item in paged)
    assert len(listed) == 3


def test_customers_are_made_listed_and_deleted(sdk):
    created = sdk.customers.create({"name": "Acme", "key": "acme", "usageAttribution": {"subjectKeys": ["acme-1"]}})
    assert sdk.customers.get("acme").id == created.id
    assert [customer.id for customer in sdk.customers.list().items_property] == [created.id]
    sdk.customers.delete(created.id)


def test_a_portal_token_is_made(sdk):
    assert sdk.portal.portal_tokens.create({"subject": "alice"}).token


def test_the_asynchronous_client_does_the_same(place, sdk):
    made, key = place

    async def use():
        async with AsyncClient(endpoint=str(made.root.base_url).rstrip("/"), token=key) as client:
            await client.meters.create(
                make_meter(slug="sdk_async", eventType="sdk_async", groupBy={"model": "$.model"})
            )
            await client.events.ingest_event(
                make_event(type="sdk_async", time=ago(hours=1), data={"value": 1, "model": "a"})
            )
            await client.events.ingest_events([make_event(type="sdk_async", data={"value": 10, "model": "b"})])
            rows = (await client.meters.query_json("sdk_async", group_by=["model"])).data
            text = await client.meters.query_csv("sdk_async")
            groups = await client.meters.list_group_by_values("sdk_async", "model")
            slugs = [meter.slug for meter in await client.meters.list()]
            await client.meters.delete("sdk_async")
            return {row.group_by["model"]: row.value for row in rows}, text, groups, slugs

    rows, text, groups, slugs = asyncio.run(use())
    assert rows == {"a": 1, "b": 10}
    assert text.startswith("window_start,window_end,value\n")
    assert (groups, slugs) == (["a"], ["sdk_async"])


def test_the_seed_mount_shows_what_the_sdk_made(place, sdk):
    made, _ = place
    make_used(sdk, "sdk_seed", "a")
    assert made.seed.get("/meters/sdk_seed/query").json()["data"][0]["value"] == 2


def test_the_sdk_sees_what_the_seed_mount_made(place, sdk):
    made, _ = place
    add_meter(made.seed, slug="seed_meter", eventType="seed_meter")
    ingest(made.seed, make_event(type="seed_meter"))
    assert [row.value for row in sdk.meters.query_json("seed_meter").data] == [1]
