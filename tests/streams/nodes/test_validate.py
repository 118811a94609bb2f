from decimal import Decimal

import pytest

from meterhouse.streams.function import StreamError
from tests.streams.nodes.make import exact, handle, make_node, reasons, sent

CHARGING = {
    "properties": {
        "date": {"type": "string"},
        "kWhCharged": {"type": "number"},
        "userTechnicalId": {"maxLength": 36, "minLength": 36, "type": "string"},
    },
    "required": ["date", "userTechnicalId", "kWhCharged"],
}
GOOD = {"date": "2026-01-01", "kWhCharged": Decimal("13.5"), "userTechnicalId": "u" * 36}


def validated(payload, schema=CHARGING, **params):
    return handle(make_node("transforms/validate", schema=schema, **params), [payload])


def test_a_record_that_fits_goes_on():
    assert sent(validated(GOOD)) == [GOOD]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"date": "x", "kWhCharged": 1}, "'userTechnicalId' is a required property"),
        (GOOD | {"kWhCharged": "13"}, "kWhCharged: '13' is not of type 'number'"),
        (GOOD | {"date": Decimal("1.5")}, "date: 1.5 is not of type 'string'"),
        (GOOD | {"userTechnicalId": "u"}, "userTechnicalId: 'u' is too short"),
        (
            {},
            "'date' is a required property; 'userTechnicalId' is a required property; 'kWhCharged' is a required property",
        ),
    ],
)
def test_a_record_that_does_not_fit_is_rejected_with_every_reason(payload, reason):
    step = validated(payload)
    assert reasons(step) == [reason]
    assert step.emitted == {}


def test_records_go_to_the_outputs_that_are_named_for_them():
    wired = {"fixed": {"valid": {"id": "good"}, "invalid": {"id": "bad"}}}
    assert sent(validated(GOOD, multiOutput=wired), "good") == [GOOD]
    step = validated({}, multiOutput=wired)
    assert (sent(step, "bad"), step.rejected) == ([{}], [])


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ('{"type": "integer"}', "1.0", True),
        ('{"type": "integer"}', "1.5", False),
        ('{"type": "integer"}', "true", False),
        ('{"type": "number"}', "true", False),
        ('{"multipleOf": 0.1}', "1.3", True),
        ('{"multipleOf": 0.1}', "1.35", False),
        ('{"maximum": 0.3}', "0.30000000000000001", False),
        ('{"const": 1}', "1.0", True),
        ('{"enum": ["APAC", "EMEA"]}', '"unknown"', False),
        ('{"pattern": "^(?!UNKNOWN)$"}', '"UNKNOWN"', False),
        ('{"pattern": "^(?!UNKNOWN)$"}', '""', True),
        ('{"pattern": "^(?!INVALID)"}', "7", True),
        ('{"pattern": "^(20.*)$"}', '"2026"', True),
        ('{"pattern": "^a$"}', '"a\\n"', False),
        ('{"pattern": "^(?<year>[0-9$]+)$"}', '"20$6"', True),
        ('{"pattern": "^\\\\d$"}', '"\u0661"', False),
        ('{"patternProperties": {"^x": {"type": "string"}}}', '{"x1": 1}', False),
        ('{"properties": {"pattern": {"type": "string"}}}', '{"pattern": "("}', True),
        ('{"format": "date-time"}', '"2026-01-01T00:00:00Z"', True),
        ('{"format": "date-time"}', '"yesterday"', False),
        ('{"format": "uuid"}', '"2bc05970-138c-11ef-aa40-3bc36eb7b565"', True),
        ('{"format": "uuid"}', '"2bc05970"', False),
        ('{"items": [{"type": "string"}]}', "[1]", False),
        ('{"$ref": "#/definitions/text", "definitions": {"text": {"type": "string"}}}', "1", False),
        (
            '{"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [{"type": "string"}]}',
            "[1]",
            False,
        ),
        ('{"$schema": "http://json-schema.org/draft-07/schema#", "type": "string"}', '"a"', True),
        ("false", "1", False),
    ],
)
def test_schemas_are_checked_exactly_and_as_javascript_would(schema, value, fits):
    inner = exact(schema)
    whole = {"properties": {"v": inner}, "definitions": inner.get("definitions", {}) if isinstance(inner, dict) else {}}
    if isinstance(inner, dict) and "$schema" in inner:
        whole["$schema"] = inner.pop("$schema")
    step = validated({"v": exact(value)}, schema=whole)
    assert (step.rejected == []) is fits


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {"type": "text"},
        {"properties": {"a": {"pattern": "("}}},
        {"$schema": "https://example.com/mine"},
        {"required": "a"},
    ],
)
def test_a_broken_schema_is_refused_before_any_record(schema):
    with pytest.raises(StreamError, match="The node: "):
        validated({}, schema=schema)


def test_a_reference_out_of_the_schema_is_never_fetched():
    with pytest.raises(StreamError, match="refers to what it does not hold"):
        validated({}, schema={"$ref": "http://127.0.0.1:9/schema.json"})
