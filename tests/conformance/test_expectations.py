"""How answers are compared with what is expected of them."""

import json
from decimal import Decimal

import pytest

from meterhouse.conformance.expect import ABSENT, INSTANT_OFFSET, INSTANT_Z, TEXT, ULID, UUID, Only, differences, one_of

pytestmark = pytest.mark.odd_requests("the check sends bad events beside good ones")


def read(text):
    return json.loads(text, parse_float=Decimal)


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        ({"a": 1}, '{"a": 1.0, "b": 2}'),
        (Only({"a": [TEXT, 2]}), '{"a": ["x", 2]}'),
        (Only({"a": ABSENT}), "{}"),
        (Decimal("0.3"), "0.3"),
        (one_of("a list with it", {"id": 1}), '[{"id": 2}, {"id": 1, "more": 0}]'),
        (UUID, '"2c834594-1205-43de-a232-659325162b6c"'),
        (ULID, '"01M80ETPJ61GHNQDHW7TDWJPZ3"'),
        (INSTANT_Z, '"2023-07-01T00:00:00.000Z"'),
        (INSTANT_OFFSET, '"2023-07-26T09:00:15.690+00:00"'),
    ],
)
def test_as_expected(expected, seen):
    assert differences(expected, read(seen)) == []


@pytest.mark.parametrize(
    ("expected", "seen", "told"),
    [
        ({"a": 1}, "{}", "a is missing, not 1"),
        ({"a": {"b": TEXT}}, '{"a": {"b": ""}}', 'a.b is "", not a text'),
        (Only({"a": 1}), '{"a": 1, "b": 2}', "b is not expected"),
        ({"a": ABSENT}, '{"a": null}', "a is null, not absent"),
        ([1, 2], "[1]", "the body is [1], not a list of 2"),
        ([1, 2], "[1, 3]", "[1] is 3, not 2"),
        ({"a": {}}, '{"a": []}', "a is [], not an object"),
        (1, "true", "the body is true, not 1"),
        (False, "0", "the body is 0, not false"),
        (Decimal("0.3"), "0.30000000000000004", "the body is 0.30000000000000004, not 0.3"),
        (one_of("a list with it", {"id": 1}), '[{"id": 2}]', "the body is [{id: 2}], not a list with it"),
        (
            INSTANT_Z,
            '"2023-07-01T00:00:00Z"',
            'the body is "2023-07-01T00:00:00Z", not an instant like 2023-07-01T00:00:00.000Z',
        ),
    ],
)
def test_what_differs_is_told_with_its_place(expected, seen, told):
    assert differences(expected, read(seen)) == [told]
