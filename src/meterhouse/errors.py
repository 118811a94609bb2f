"""The error classes that code raises by name, and their two wire shapes.

Usage Engine: {"statusCode", "error", "message", "details"?} (reference: its 1.10). Buckets: RFC 9457 problems with
OpenMeter's `extensions.validationErrors`.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldError:
    """One bad field: `field` as a path in the request (`events[3].subject`, `thresholds.0.name`)."""

    field: str
    message: str
    code: str = "invalid"


class StartError(Exception):
    """One line that says why the server does not start."""


class MeterhouseError(Exception):
    """An answer other than success. `message` is for the person who sent the request."""

    status = 500
    prefix = ""
    """What OpenMeter puts before the detail of this kind of error."""

    def __init__(
        self, message: str, fields: tuple[FieldError, ...] = (), headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields
        self.headers = headers or {}


class BadRequestError(MeterhouseError):
    status = 400
    prefix = "validation error: "


class UnauthorizedError(MeterhouseError):
    status = 401


class ForbiddenError(MeterhouseError):
    """Known caller, missing scope. The Usage Engine's dialect has no 403 and says 401."""

    status = 403


class NotFoundError(MeterhouseError):
    status = 404
    prefix = "not found error: "


class MethodNotAllowedError(MeterhouseError):
    status = 405


class ConflictError(MeterhouseError):
    status = 409
    prefix = "conflict error: "


class TooLargeError(MeterhouseError):
    status = 413


class TooManyRequestsError(MeterhouseError):
    status = 429


class NotImplementedByDesignError(MeterhouseError):
    """An operation that the cloned product refuses as well."""

    status = 501


class UnavailableError(MeterhouseError):
    status = 503


def bad_field(field: str, message: str, code: str = "invalid") -> BadRequestError:
    """A 400 about one field, which its message names too."""
    return BadRequestError(f"{field}: {message}", (FieldError(field, message, code),))


def bad_fields(errors: list[FieldError]) -> BadRequestError:
    """A 400 about several fields; the message lists the first ten."""
    listed = "; ".join(f"{error.field}: {error.message}" for error in errors[:10])
    more = f"; and {len(errors) - 10} more" if len(errors) > 10 else ""
    return BadRequestError(listed + more, tuple(errors))


def _phrase(status: int) -> str:
    """The name in RFC 9110, which not every Python knows."""
    return "Content Too Large" if status == TooLargeError.status else HTTPStatus(status).phrase


def usage_engine_body(error: MeterhouseError) -> dict[str, Any]:
    status = 401 if error.status == ForbiddenError.status else error.status
    body: dict[str, Any] = {"statusCode": status, "error": _phrase(status), "message": error.message}
    if error.fields:
        body["details"] = [{"path": field.field, "message": field.message} for field in error.fields]
    return body


def problem_body(error: MeterhouseError, request_id: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _phrase(error.status),
        "status": error.status,
        "detail": error.prefix + error.message,
        "instance": f"urn:request:{request_id}",
    }
    if error.fields:
        body["extensions"] = {
            "validationErrors": [
                {"field": field.field, "code": field.code, "message": field.message} for field in error.fields
            ]
        }
    return body
