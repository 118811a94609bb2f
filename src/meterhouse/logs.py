"""JSON logs, a line each, with the request's id and never a payload or a secret."""

import contextvars
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType

import msgspec

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")

_FIELDS = "fields"
_encode = msgspec.json.encode


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if current := request_id.get():
            line["requestId"] = current
        line |= getattr(record, _FIELDS, {})
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = describe(record.exc_info[1], record.exc_info[2])
        return _encode(line).decode()


def describe(error: BaseException, trace: TracebackType | None) -> list[str]:
    """Where it happened, and the first line of what: databases put the data itself into the lines after it."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
    return [*frames, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"]


def _is_no_traceback(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Traceback")


def set_up_logs(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Uvicorn prints why the application did not start as a traceback; the command line says it in one line.
    logging.getLogger("uvicorn.error").addFilter(_is_no_traceback)
    for noisy in ("uvicorn.access", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
