import pytest

from meterhouse.streams.function import StreamError
from tests.streams.nodes.make import handle, make_node, sent


def organized(mappings, payload):
    return sent(handle(make_node("transforms/map", mappings=mappings), [payload]))[0]


def test_the_record_becomes_these_fields_in_this_order():
    mappings = [{"Month": "month_dateTime"}, {"TotalDownload": "sum_downloadedGame"}, {"User": "userId"}]
    found = organized(mappings, {"userId": "u", "month_dateTime": "2026-01", "sum_downloadedGame": 20, "more": 1})
    assert list(found.items()) == [("Month", "2026-01"), ("TotalDownload", 20), ("User", "u")]


def test_fields_that_are_missing_are_left_out_and_null_is_not_missing():
    assert organized([{"a": "x"}, {"b": "y"}], {"y": None}) == {"b": None}


def test_dotted_names_reach_inside_on_both_sides():
    mappings = [{"brand": "customFields.brand"}, {"fields.id": "id"}, {"fields.at": "at"}]
    payload = {"customFields": {"brand": "Acme"}, "id": 1, "at": 2}
    assert organized(mappings, payload) == {"brand": "Acme", "fields": {"id": 1, "at": 2}}


def test_the_last_mapping_of_a_name_that_has_a_value_wins():
    mappings = [{"customer": "customer"}, {"customer": "customFields.customer"}]
    assert organized(mappings, {"customer": "a", "customFields": {"customer": "b"}}) == {"customer": "b"}
    assert organized(mappings, {"customer": "a"}) == {"customer": "a"}


def test_one_object_of_mappings_is_read_as_well():
    assert organized({"User": "userId", "Month": "month"}, {"userId": 1, "month": 2}) == {"User": 1, "Month": 2}


def test_mappings_that_are_no_objects_are_refused():
    with pytest.raises(StreamError, match="The node: mappings"):
        organized(["a"], {})
