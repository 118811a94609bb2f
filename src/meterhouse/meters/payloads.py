"""JSON of meters, in and out (reference: usage engine 1.5)."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, Field
from sqlalchemy import RowMapping

from meterhouse.meter_types.payloads import (
    NOT_NULL,
    Body,
    Capacity,
    CustomFields,
    Line,
    Reference,
    Thresholds,
    number_json,
    threshold_json,
)
from meterhouse.rules.instants import format_milliseconds


def _uuid(value: object) -> UUID:
    """In its one form of 36 characters: the library also reads braces and URNs."""
    try:
        if isinstance(value, str) and len(value) == 36:
            return UUID(value)
    except ValueError:
        pass
    raise ValueError("must be a UUID such as 645ed240-02b5-400c-9a3c-21857e8f2ac4")


MeterKey = Annotated[Line, Field(min_length=1, max_length=36)]
UserId = Annotated[Line, Field(min_length=1, max_length=320)]
MeterTypeId = Annotated[UUID, BeforeValidator(_uuid)]


class MeterCreate(Body):
    """Names its type once: by id or, under either of two names, by the type's external reference."""

    meter_key: MeterKey
    user_id: UserId
    custom_fields: Annotated[CustomFields, Field(default_factory=dict)]
    meter_type_id: Annotated[MeterTypeId | None, NOT_NULL] = None
    external_ref: Annotated[Reference | None, NOT_NULL] = None
    meter_type_external_ref: Annotated[Reference | None, NOT_NULL] = None


class MeterUpdate(Body):
    capacity: Annotated[Capacity | None, NOT_NULL] = None
    custom_fields: Annotated[CustomFields | None, NOT_NULL] = None
    delete_on_reset: Annotated[bool | None, NOT_NULL] = None
    thresholds: Annotated[Thresholds | None, NOT_NULL] = None

    def columns(self) -> dict[str, Any]:
        """What the body sets."""
        columns = {name: getattr(self, name) for name in self.model_fields_set}
        if self.thresholds is not None:
            columns["thresholds"] = [one.stored() for one in self.thresholds]
        return columns


def meter_json(row: RowMapping) -> dict[str, Any]:
    """All members always, but for a capacity or an error that there is not. No value yet is 0.

    `closeError` says why the period, which is over, cannot be closed.
    """
    breakdowns = [
        {"name": breakdown["name"], "groups": [_group_json(group) for group in breakdown["groups"]]}
        for breakdown in row["group_breakdowns"]
    ]
    capacity = {} if row["capacity"] is None else {"capacity": number_json(row["capacity"])}
    error = {} if row["close_error"] is None else {"closeError": row["close_error"]}
    return (
        capacity
        | error
        | {
            "carryFirst": row["carry_first"],
            "carryLast": row["carry_last"],
            "createdAt": format_milliseconds(row["created_at"]),
            "customFields": row["custom_fields"],
            "deleteOnReset": row["delete_on_reset"],
            "groupBreakdowns": breakdowns,
            "groups": [group for breakdown in breakdowns for group in breakdown["groups"]],
            "id": row["id"],
            "meterKey": row["meter_key"],
            "meterMetaData": row["meter_meta_data"],
            "meterTypeId": row["meter_type_id"],
            "meterTypeName": row["meter_type_name"],
            "periodEnd": format_milliseconds(row["period_end"]),
            "periodStart": format_milliseconds(row["period_start"]),
            "thresholds": [threshold_json(one) for one in row["thresholds"]],
            "timezone": row["timezone"],
            "unit": row["unit"],
            "updatedAt": format_milliseconds(row["updated_at"]),
            "userId": row["user_id"],
            "value": number_json(row["value"] or 0),
        }
    )


def _group_json(group: dict[str, Any]) -> dict[str, Any]:
    return {
        "key": group["key"],
        "fields": group["fields"],
        "value": number_json(group["value"]),
        "carryFirst": group["carryFirst"],
        "carryLast": group["carryLast"],
    }
