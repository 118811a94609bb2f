"""Query parameters and bodies of meter queries, read into a Question (reference: metering 2.2, 3.2, 8)."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.datastructures import QueryParams

from meterhouse.buckets.query import Meter, Question
from meterhouse.errors import BadRequestError, bad_field
from meterhouse.rules.filters import Condition, Every, FilterError, OneOf, parse_filter
from meterhouse.rules.instants import parse_instant
from meterhouse.rules.windows import WINDOW_SIZES, find_zone
from meterhouse.wire import decode_json

MAX_VALUES = 100
"""Of subject, filterCustomerId, filterSubscription and groupBy each."""

_LISTS = ("subject", "filterCustomerId", "filterSubscription", "groupBy")
_TEXTS = ("clientId", "from", "to", "windowSize", "windowTimeZone")
_FILTERS = ("filterGroupBy", "advancedMeterGroupByFilters")


def members_of_query_string(params: QueryParams) -> dict[str, Any]:
    """GET's parameters in the form of POST's body, so that both are read alike.

    `filterGroupBy[model]=gpt-4` is a deep object; the Python SDK sends the text of its dict instead, which is read too.
    """
    members: dict[str, Any] = {}
    by_group: dict[str, list[str]] = {}
    for name, text in params.multi_items():
        if name in _LISTS or name.removesuffix("[]") in _LISTS:
            members.setdefault(name.removesuffix("[]"), []).append(text)
        elif name.startswith("filterGroupBy[") and name.endswith("]"):
            by_group.setdefault(name[len("filterGroupBy[") : -1], []).append(text)
        elif name == "filterGroupBy":
            for key, value in _object_text(text, name, python=True).items():
                by_group.setdefault(str(key), []).append(value)
        elif name == "advancedMeterGroupByFilters":
            members[name] = _object_text(text, name)
        elif name in _TEXTS:
            if name in members:
                raise bad_field(name, "is given twice")
            members[name] = text
    if by_group:
        members["filterGroupBy"] = by_group
    return members


def _object_text(text: str, field: str, *, python: bool = False) -> dict[str, Any]:
    """JSON, or with `python` also the repr of a dict."""
    try:
        value = decode_json(text.encode(errors="surrogatepass"))
    except BadRequestError as error:
        if not python:
            raise bad_field(field, error.message) from None
        try:
            value = ast.literal_eval(text) if len(text) <= 4096 else None
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise bad_field(field, "must be a JSON object")
    return value


def read_question(members: Mapping[str, Any], meter: Meter, *, seed: bool) -> Question:
    """Checks every member and names the bad one. Members that are not known are ignored, as OpenMeter does."""
    given = {name: value for name, value in members.items() if value is not None}
    client_id = _text(given, "clientId")
    if client_id is not None and not 1 <= len(client_id) <= 36:
        raise bad_field("clientId", "must have 1 to 36 characters")
    start, end = read_range(given, equal_allowed=seed)
    size = _text(given, "windowSize")
    if size is not None and size not in WINDOW_SIZES:
        raise bad_field("windowSize", f"must be one of {', '.join(WINDOW_SIZES)}")
    subjects, customer_ids, subscriptions, wanted = (_texts(given, name) for name in _LISTS)
    reserved = {"subject", "customer_id"}
    # On the OpenMeter mount `subscription` is a meter's own key if it has one.
    if seed or "subscription" not in meter.group_by:
        reserved.add("subscription")
    for key in wanted:
        if key not in reserved and key not in meter.group_by:
            raise bad_field("groupBy", f"invalid group by: {key}")
    if "customer_id" in wanted and not customer_ids:
        raise bad_field("groupBy", "customer_id needs filterCustomerId")
    return Question(
        start=start,
        end=end,
        window_size=size,
        zone=_zone(_text(given, "windowTimeZone")),
        subjects=subjects,
        customer_ids=customer_ids,
        subscriptions=subscriptions,
        filters=_filters(given, meter),
        group_by=tuple(key for key in wanted if key not in reserved),
        by_subject="subject" in wanted or bool(subjects),
        by_customer=bool(customer_ids),
        by_subscription="subscription" in wanted and "subscription" in reserved,
        columns=wanted if "customer_id" in wanted or not customer_ids else (*wanted, "customer_id"),
        to_inclusive=seed,
        zero_row=not seed,
    )


def read_range(members: Mapping[str, Any], *, equal_allowed: bool) -> tuple[Any, Any]:
    """`from` and `to`, each an aware datetime or None, in this order in time."""
    start, end = _instant(members, "from"), _instant(members, "to")
    if start is not None and end is not None:
        if start > end:
            raise bad_field("from", "must be before to")
        if start == end and not equal_allowed:
            raise bad_field("from", "must be before to: from and to are equal")
    return start, end


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_field(name, "must be a string")
    return value


def _instant(members: Mapping[str, Any], name: str) -> Any:
    text = _text(members, name)
    if text is None:
        return None
    try:
        return parse_instant(text)
    except ValueError as error:
        raise bad_field(name, str(error)) from None


def _zone(name: str | None) -> Any:
    try:
        return find_zone("UTC" if name is None else name)
    except ValueError as error:
        raise bad_field("windowTimeZone", str(error)) from None


def _texts(members: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of strings without repetitions, in the order given."""
    value = members.get(name, [])
    if not isinstance(value, list):
        raise bad_field(name, "must be a list of strings")
    if len(value) > MAX_VALUES:
        raise bad_field(name, f"has more than {MAX_VALUES} values")
    for index, item in enumerate(value):
        _require_plain(item, f"{name}[{index}]")
    return tuple(dict.fromkeys(value))


def _require_plain(value: Any, field: str) -> None:
    if not isinstance(value, str):
        raise bad_field(field, "must be a string")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise bad_field(field, "contains a character that no event can have")


def _filters(members: Mapping[str, Any], meter: Meter) -> dict[str, Condition]:
    simple = _object(members, "filterGroupBy")
    advanced = _object(members, "advancedMeterGroupByFilters")
    if simple and advanced:
        raise BadRequestError("filterGroupBy and advancedMeterGroupByFilters cannot be used together")
    for key in simple:
        if key not in meter.group_by:
            raise bad_field("filterGroupBy", f"invalid group by filter: {key}")
    for key in advanced:
        if key not in meter.group_by:
            raise bad_field("advancedMeterGroupByFilters", f"meter does not have group by: {key}")
    try:
        conditions = {key: _one_of(value, f"filterGroupBy.{key}") for key, value in simple.items()}
        return conditions | {
            key: parse_filter(value, f"advancedMeterGroupByFilters.{key}") for key, value in advanced.items()
        }
    except FilterError as error:
        field, _, message = str(error).partition(": ")
        raise bad_field(field, message) from None


def _one_of(value: Any, field: str) -> Condition:
    values: Sequence[Any] = value if isinstance(value, list) else [value]
    if not values:
        return Every(())
    if len(values) > MAX_VALUES:
        raise bad_field(field, f"has more than {MAX_VALUES} values")
    for index, item in enumerate(values):
        _require_plain(item, f"{field}[{index}]")
    return OneOf(tuple(values), negated=False)


def _object(members: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = members.get(name, {})
    if not isinstance(value, dict):
        raise bad_field(name, "must be an object")
    return value
