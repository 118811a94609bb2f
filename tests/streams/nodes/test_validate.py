from decimal import Decimal

import pytest

from meterhouse.streams.function import Record, StreamError
from meterhouse.streams.nodes import make_function
from tests.streams.nodes.make import exact, make_node, make_step, reasons, sent

CHARGING = {
    "properties": {
        "date": {"type": "string"},
        "kWhCharged": {"type": "number"},
        "userTechnicalId": {"maxLength": 36, "minLength": 36, "type": "string"},
    },
    "required": ["date", "userTechnicalId", "kWhCharged"],
}
GOOD = {"date": "2026-01-01", "kWhCharged": Decimal("13.5"), "userTechnicalId": "u" * 36}


@pytest.fixture(scope="module")
def validate(scripts):
    """Patterns are tried in the sandbox."""

    def run(*payloads, schema=CHARGING, **params):
        step = make_step()
        function = make_function(make_node("transforms/validate", schema=schema, **params))
        scripts(function.handle([Record(payload) for payload in payloads], step))
        return step

    return run


def test_a_record_that_fits_goes_on(validate):
    assert sent(validate(GOOD)) == [GOOD]


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
def test_a_record_that_does_not_fit_is_rejected_with_every_reason(validate, payload, reason):
    step = validate(payload)
    assert reasons(step) == [reason]
    assert step.emitted == {}


def test_records_go_to_the_outputs_that_are_named_for_them(validate):
    wired = {"fixed": {"valid": {"id": "good"}, "invalid": {"id": "bad"}}}
    assert sent(validate(GOOD, multiOutput=wired), "good") == [GOOD]
    step = validate({}, multiOutput=wired)
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
        ('{"pattern": "^\\\\p{L}+$"}', '"Zo\u00eb"', True),
        ('{"pattern": "^.$"}', '"\U0001f600"', True),
        ('{"pattern": "^[\\\\w\\\\-]+\\\\@$"}', '"a-b@"', True),
        ('{"not": {"pattern": "^a"}}', '"b"', True),
        ('{"not": {"pattern": "^a"}}', '"a"', False),
        ('{"if": {"pattern": "^a"}, "then": {"pattern": "b$"}, "else": {"pattern": "c$"}}', '"ab"', True),
        ('{"if": {"pattern": "^a"}, "then": {"pattern": "b$"}, "else": {"pattern": "c$"}}', '"xb"', False),
        ('{"if": {"pattern": "^a"}, "then": {"pattern": "b$"}, "else": {"pattern": "c$"}}', '"xc"', True),
        ('{"patternProperties": {"^x": {"type": "string"}}}', '{"x1": 1}', False),
        ('{"patternProperties": {"^x": {}, "y$": {}}, "additionalProperties": false}', '{"x1": 1, "ay": 2}', True),
        ('{"patternProperties": {"^x": {}}, "additionalProperties": false}', '{"x1": 1, "y": 2}', False),
        ('{"properties": {"a": {}}, "additionalProperties": {"type": "string"}}', '{"a": 1, "b": "2"}', True),
        ('{"properties": {"a": {}}, "additionalProperties": {"type": "string"}}', '{"a": 1, "b": 2}', False),
        ('{"propertyNames": {"pattern": "^x"}}', '{"y": 1}', False),
        ('{"uniqueItems": true}', '[1, "1", true, [1], {"a": 1}]', True),
        ('{"uniqueItems": true}', '[{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]', False),
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
def test_schemas_are_checked_exactly_and_as_javascript_would(validate, schema, value, fits):
    inner = exact(schema)
    whole = {"properties": {"v": inner}, "definitions": inner.get("definitions", {}) if isinstance(inner, dict) else {}}
    if isinstance(inner, dict) and "$schema" in inner:
        whole["$schema"] = inner.pop("$schema")
    step = validate({"v": exact(value)}, schema=whole)
    assert (step.rejected == []) is fits


@pytest.mark.parametrize(
    "schema",
    [
        None,
        {"type": "text"},
        {"properties": {"a": {"pattern": "("}}},
        {"$schema": "https://example.com/mine"},
        {"required": "a"},
        {"patternProperties": {"[": {}}},
        {"unevaluatedProperties": False, "patternProperties": {"^a": {}}},
    ],
)
def test_a_broken_schema_is_refused_before_any_record(validate, schema):
    with pytest.raises(StreamError, match="The node: "):
        validate({}, schema=schema)


def test_a_reference_out_of_the_schema_is_never_fetched(validate):
    with pytest.raises(StreamError, match="refers to what it does not hold"):
        validate({}, schema={"$ref": "http://127.0.0.1:9/schema.json"})


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(?:(?:a{1000}){1000}){1000}$", "(.*)(.*)(.*)(.*)(.*)x$"])
def test_a_pattern_that_goes_astray_elsewhere_ends_at_once(validate, pattern):
    schema = {"properties": {"v": {"pattern": pattern}}}
    step = validate({"v": "a" * 40 + "b"}, {"v": "a" * 40}, schema=schema)
    assert "does not match" in reasons(step)[0]


DIALECT = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"v": {"pattern": "^(?=(a+)+$)"}}},
        {"properties": {"v": {"$schema": DIALECT, "pattern": "^(?=(a+)+$)"}}},
        {"properties": {"v": {"$ref": "#/const"}}, "const": {"$schema": DIALECT, "pattern": "^(?=(a+)+$)"}},
        {"patternProperties": {"^(?=(a+)+$)": {}}},
        {"patternProperties": {"^(?=(a+)+$)": {}}, "additionalProperties": False},
    ],
)
def test_a_pattern_that_takes_too_long_aborts_the_run_and_is_named(validate, schema):
    evil = "a" * 40 + "b"
    with pytest.raises(StreamError, match=r"^The node: a pattern of the schema takes too long.*\(\?=\(a\+\)\+"):
        validate({"v": evil, evil: 1}, schema=schema)
    assert len(sent(validate(GOOD))) == 1


def test_a_slice_is_looked_at_as_often_as_its_records_ask_for_more(validate):
    schema = {"properties": {"v": {"allOf": [{"pattern": f"^.{{{n}}}"} for n in range(5)]}}}
    step = validate(*({"v": "x" * n} for n in range(7)), schema=schema)
    assert [len(record["v"]) for record in sent(step)] == [4, 5, 6]
    assert len(step.rejected) == 4


def doubling(levels):
    """Each level refers twice to the next: small, and takes two to the number of levels."""
    twice = {str(n): {"allOf": [{"$ref": f"#/definitions/{n + 1}"}] * 2} for n in range(levels)}
    return {"definitions": twice | {str(levels): {"type": "string"}}, "properties": {"v": {"$ref": "#/definitions/0"}}}


def test_a_record_that_takes_too_long_is_rejected_and_a_slice_of_them_is_an_error(validate):
    assert reasons(validate({"v": "a"}, schema=doubling(40))) == ["the record takes more than 1 s to be validated"]
    with pytest.raises(StreamError, match="The node: the records of one slice take more than 5 s"):
        validate(*[{"v": "a"}] * 20, schema=doubling(40))


def test_values_of_mixed_types_are_compared_in_good_time(validate):
    enum = [item for n in range(40_000) for item in (n, str(n))]
    schema = {"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"a": {"enum": enum}}}
    assert len(sent(validate({"a": 7}, schema=schema))) == 1
