import pytest

from meterhouse.streams.function import StreamError
from tests.streams.nodes.make import handle, make_node, sent

OUTPUTS = {
    "configurable": {
        "outputs": [{"id": "1", "name": "Low"}, {"id": "2", "name": "Old"}, {"id": "default-1", "name": "default"}]
    }
}
LOW = {"key": "${payload.inkLevel}", "op": "lt", "output": "1", "value": "21"}
OLD = {"key": "@{payload.age.years}", "op": "ge", "output": "2", "value": "${payload.limit}"}


def routed(payloads, rules=(LOW, OLD), **params):
    return handle(make_node("transforms/split", rules=list(rules), multiOutput=OUTPUTS, **params), payloads)


@pytest.mark.parametrize(
    ("payload", "reached"),
    [
        ({"inkLevel": 20}, {"1"}),
        ({"inkLevel": "9"}, {"1"}),
        ({"inkLevel": 21}, set()),
        ({"age": {"years": 10}, "limit": 9}, {"2"}),
        ({"inkLevel": 1, "age": {"years": 10}, "limit": 9}, {"1", "2"}),
        ({}, set()),
    ],
)
def test_a_record_goes_to_the_output_of_every_rule_that_holds(payload, reached):
    step = routed([payload])
    assert set(step.emitted) == reached
    assert step.dropped == (not reached)


def test_two_rules_for_one_output_send_the_record_once():
    assert sent(routed([{"inkLevel": 1}], rules=[LOW, LOW]), "1") == [{"inkLevel": 1}]


def test_without_a_match_the_record_can_go_to_the_default_output():
    assert sent(routed([{}], onNoMatch="defaultOutput"), "default-1") == [{}]


def test_without_a_match_the_run_can_be_aborted():
    with pytest.raises(StreamError, match=r'The node: no rule .* \{"a":1\}'):
        routed([{"a": 1}], onNoMatch="abort")


@pytest.mark.parametrize(
    ("rules", "params"),
    [([LOW | {"op": "like"}], {}), ([{"op": "eq"}], {}), (["x"], {}), ([LOW], {"onNoMatch": "panic"})],
)
def test_broken_rules_are_refused(rules, params):
    with pytest.raises(StreamError, match="The node: "):
        routed([{}], rules=rules, **params)
