from decimal import Decimal

import pytest

from meterhouse.streams.function import StreamError
from tests.streams.nodes.make import exact, handle, make_node, reasons, sent


def mapping(field, ast, message=None):
    return {"field": field, "ast": ast, "errorMessage": message, "expression": "…"}


def mapped(mappings, payload, keep=None):
    return handle(make_node("transforms/xmap", mappings=mappings, keepFields=keep), [payload])


ROUNDED_RATE = exact(
    """["aop", "/", ["call", ["R", "round"], [["aop", "*", ["aop", "*", ["IP", "${payload.ServiceFee}"],
    ["IP", "${payload.httpResponse.rates.USD}"]], ["N", 10000]]]], ["N", 10000]]"""
)


def test_fields_are_computed_exactly_and_the_rest_kept_unless_excepted():
    payload = {"ServiceFee": Decimal("12.35"), "httpResponse": {"rates": {"USD": Decimal("1.07691")}}}
    keep = {"enabled": True, "except": ["httpResponse"]}
    step = mapped([mapping("Service Fee (USD)", ROUNDED_RATE)], payload, keep)
    assert sent(step) == [{"ServiceFee": Decimal("12.35"), "Service Fee (USD)": Decimal("13.2998")}]
    assert "httpResponse" in payload


def test_without_kept_fields_the_record_is_what_was_computed():
    greeting = ["aop", "+", ["aop", "+", ["S", "Hi "], ["IP", "@{payload.name}"]], ["IP", "@{payload.gone}"]]
    step = mapped(
        [mapping("subject", ["S", "Hello"]), mapping("message", greeting)], {"name": "Ann"}, {"enabled": False}
    )
    assert sent(step) == [{"subject": "Hello", "message": "Hi Ann"}]


def test_all_expressions_see_the_record_as_it_came():
    both = [mapping("a", ["IP", "${payload.b}"]), mapping("b", ["IP", "${payload.a}"])]
    assert sent(mapped(both, {"a": 1, "b": 2}, {"enabled": True})) == [{"a": 2, "b": 1}]


@pytest.mark.parametrize(
    ("message", "reason"),
    [(None, "share: division by zero"), ("No total", "No total"), ("", "share: division by zero")],
)
def test_a_failing_expression_rejects_the_record_with_its_message(message, reason):
    step = mapped([mapping("share", ["aop", "/", ["N", 1], ["IP", "${payload.total}"]], message)], {"total": 0})
    assert reasons(step) == [reason]
    assert step.rejected[0][0].payload == {"total": 0}
    assert step.emitted == {}


@pytest.mark.parametrize("mappings", [[{}], [{"field": "a"}], [{"field": "a", "ast": ["call", ["R", "eval"], []]}]])
def test_a_broken_mapping_names_the_function(mappings):
    with pytest.raises(StreamError, match="The node: "):
        mapped(mappings, {})
