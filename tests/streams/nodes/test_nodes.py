import asyncio
import json

import pytest

from meterhouse.streams.function import Node, StreamError
from meterhouse.streams.nodes import REACHED, functions, make_function, only_outputs, outputs
from tests.streams.nodes.make import handle, make_node, make_step, sent

PARAMS = {
    "multiOutput": {
        "fixed": {"unique": {"id": "u-1"}, "duplicate": {"id": "d-1"}, "broken": {}},
        "configurable": {"outputs": [{"id": "c-1", "name": "Completed"}, {"id": "c-2", "name": "Not completed"}]},
    }
}


def test_functions_are_found_by_their_files():
    known = {
        "readers/counter",
        "transforms/data_aggregate",
        "transforms/date",
        "transforms/deduplicate",
        "transforms/map",
        "transforms/split",
        "transforms/validate",
        "transforms/xmap",
        "writers/log",
        "writers/noop",
    }
    assert known <= set(functions())
    assert all(function.type == name for name, function in functions().items())


def test_an_unknown_type_is_named_with_its_function():
    with pytest.raises(StreamError, match=r"Fetch files: .* readers/sftp"):
        make_function(Node("1", "readers/sftp", "Fetch files", {}))


def test_outputs_have_names_and_ids():
    assert outputs(PARAMS) == {"unique": "u-1", "duplicate": "d-1", "Completed": "c-1", "Not completed": "c-2"}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"multiOutput": None},
        {"multiOutput": {"fixed": None, "configurable": {"outputs": None}}},
        {"multiOutput": {"fixed": {"a": "b"}, "configurable": {"outputs": ["x"]}}},
    ],
)
def test_params_without_outputs_have_none(params):
    assert outputs(params) == {}
    assert outputs(only_outputs(params, frozenset({"u-1"}))) == {}


def test_outputs_that_lead_nowhere_can_be_taken_out():
    assert outputs(only_outputs(PARAMS, frozenset({"d-1", "c-2"}))) == {"duplicate": "d-1", "Not completed": "c-2"}
    assert len(outputs(PARAMS)) == 4


def test_a_counter_reads_slices_and_goes_on_where_its_state_left_off():
    state, values, more = {}, [], True
    while more:
        step = make_step(state=json.loads(json.dumps(state)))
        more = asyncio.run(make_function(make_node("readers/counter", max=5)).read(step, 2))
        assert len(sent(step)) <= 2
        values += sent(step)
        state = step.state
    assert values == [{"value": n} for n in range(5)]
    again = make_step(state=state)
    assert asyncio.run(make_function(make_node("readers/counter", max=5)).read(again, 2)) is False
    assert sent(again) == []


@pytest.mark.parametrize("most", [None, -1, "many", 1.5, True])
def test_a_counter_needs_a_whole_number(most):
    with pytest.raises(StreamError, match="The node: max"):
        make_function(make_node("readers/counter", max=most))


def test_a_log_keeps_what_reaches_it_and_a_no_operation_nothing():
    assert handle(make_node("writers/log"), [{"a": 1}]).emitted[REACHED][0].payload == {"a": 1}
    assert handle(make_node("writers/noop"), [{"a": 1}]).emitted == {}
