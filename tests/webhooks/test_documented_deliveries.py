"""What receivers get is what openapi/usage-engine.yaml tells them under `webhooks`."""

import json
from decimal import Decimal

import pytest

from tests.contract.documents import Node, load_all
from tests.contract.schemas import Schemas
from tests.usage_engine import ok
from tests.webhooks.house import add_webhook
from tests.webhooks.test_deliveries import meter_by_stream

pytestmark = pytest.mark.usefixtures("worker")

DOCUMENT = next(document for document in load_all() if document.name == "usage-engine")
WEBHOOKS: dict[str, Node] = dict(DOCUMENT.root.items("webhooks"))


def faults(call) -> list[str]:
    schemas = Schemas(DOCUMENT)
    operation = WEBHOOKS[call.content["type"]].get("post")
    found = []
    for _, header in operation.items("parameters"):
        name = header.value["name"]
        found += schemas.faults(header.get("schema"), call.headers[name])
    schema = operation.get("requestBody", "content", call.headers["content-type"], "schema")
    return found + schemas.faults(schema, json.loads(call.body, parse_float=Decimal))


def test_deliveries_are_as_documented(house, account):
    hook = house.receiver.hook()
    webhook = add_webhook(account, hook)
    thresholds = [
        {"name": "all", "capacityPercentage": 100, "customFields": {"action": "STOP"}},
        {"name": "some", "absoluteValue": 0.5},
    ]
    meter, use = meter_by_stream(account, house, capacity=1, thresholds=thresholds)
    use("0.7")
    hook.wait_for_taken(1)
    ok(account.post(f"/webhooks/{webhook['id']}/rotate-secret", {}))
    use("0.3")
    hook.wait_for_taken(2)
    house.end_periods(account, [meter])
    calls = hook.wait_for_taken(3)
    assert {call.content["type"] for call in calls} == WEBHOOKS.keys()
    assert [len(call.headers["webhook-signature"].split()) for call in calls] == [1, 2, 2]
    assert [faults(call) for call in calls] == [[]] * 3


def examples() -> list[tuple[Node, object]]:
    """Of bodies and headers, each with its schema."""
    found = []
    for item in WEBHOOKS.values():
        media = item.get("post", "requestBody", "content", "application/json")
        found += [(media.get("schema"), example.value["value"]) for _, example in media.items("examples")]
        headers = [header for _, header in item.items("post", "parameters")]
        found += [(header.get("schema"), header.value["example"]) for header in headers]
    return found


def test_the_examples_have_the_shape_that_stands_beside_them():
    found = examples()
    assert len(found) == 8
    assert [Schemas(DOCUMENT).faults(schema, value) for schema, value in found] == [[]] * 8
