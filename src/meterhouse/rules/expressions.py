"""Map expressions, compiled from their syntax tree (reference: streams, Map expressions).

Numbers are exact; a division is rounded to 34 digits. A numeric text counts as a number, except for `+`, which joins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from meterhouse.rules.instants import format_milliseconds
from meterhouse.rules.records import (
    EXACT,
    MAX_TEXT,
    MISSING,
    QUOTIENT,
    TooLongTextError,
    as_number,
    compare,
    equal,
    find,
    join,
    text_of,
    tidy,
)
from meterhouse.rules.templates import parse_template

MAX_DEPTH = 200
_MAX_DECIMAL_PLACES = 100


class BrokenExpressionError(ValueError):
    """No record could ever be mapped with it: the document is wrong."""


class FailedExpressionError(ValueError):
    """It has no value for this record; the message says why."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression can see."""

    payload: Mapping[str, Any]
    now: datetime


Expression = Callable[[Scope], Any]
"""May return MISSING, for a value that the record lacks. Raises FailedExpressionError."""


def compile_expression(ast: Any) -> Expression:
    """Raises BrokenExpressionError."""
    return _compile(ast, MAX_DEPTH)


def _compile(ast: Any, depth: int) -> Expression:
    if not depth:
        raise BrokenExpressionError(f"is nested more than {MAX_DEPTH} deep")
    match ast:
        case ["not", inner]:
            truth_of = _compile(inner, depth - 1)
            return lambda scope: not _is_true(truth_of(scope))
        case ["aop", "+", inner]:
            return _compile(inner, depth - 1)
        case ["aop", "-", inner]:
            negated = _compile(inner, depth - 1)
            return lambda scope: _result("-", Decimal(0), _number(negated(scope)))
        case ["aop" | "cop" | "lop" as kind, str(operator), first, second]:
            return _operation(kind, operator, _compile(first, depth - 1), _compile(second, depth - 1))
        case ["call", ["R", str(name)], [*arguments]]:
            return _call(name, [_compile(argument, depth - 1) for argument in arguments])
    return _compile_leaf(ast)


def _compile_leaf(ast: Any) -> Expression:
    match ast:
        case ["S", str(text)]:
            return lambda _: text
        case ["B", bool(truth)]:
            return lambda _: truth
        case ["N", value] if (number := as_number(value)) is not None:
            return lambda _: tidy(number)
        case ["IP", str(text)]:
            template = parse_template(text)
            return lambda scope: template.value(scope.payload)
        case ["R", str(path)]:  # as documents had it before schema version 3
            return lambda scope: find(scope.payload, path)
    raise BrokenExpressionError(f"is not understood: {str(ast)[:100]}")


def _operation(kind: str, operator: str, first: Expression, second: Expression) -> Expression:
    if kind == "aop" and operator == "+":
        return lambda scope: _plus(first(scope), second(scope))
    if kind == "aop" and operator in _ARITHMETIC:
        return lambda scope: _result(operator, _number(first(scope)), _number(second(scope)))
    if kind == "cop" and operator in ("==", "!="):
        return lambda scope: equal(first(scope), second(scope)) == (operator == "==")
    if kind == "cop" and operator in _ORDER:
        holds = _ORDER[operator]
        return lambda scope: holds(_compared(first(scope), second(scope)))
    if kind == "lop" and operator == "and":
        return lambda scope: _is_true(first(scope)) and _is_true(second(scope))
    if kind == "lop" and operator == "or":
        return lambda scope: _is_true(first(scope)) or _is_true(second(scope))
    raise BrokenExpressionError(f"has an unknown operator: {operator[:20]!r}")


_ARITHMETIC: Mapping[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": EXACT.add,
    "-": EXACT.subtract,
    "*": EXACT.multiply,
    "/": QUOTIENT.divide,
    "%": EXACT.remainder,
}
_ORDER: Mapping[str, Callable[[int], bool]] = {
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
}


def _number(value: Any) -> Decimal:
    number = as_number(value)
    if number is None:
        raise FailedExpressionError(f"{_shown(value)} is not a number")
    return number


def _shown(value: Any) -> str:
    return "a missing value" if value is MISSING else repr(text_of(value)[:50])


def _result(operator: str, first: Decimal, second: Decimal) -> int | Decimal:
    if not second and operator in "/%":
        raise FailedExpressionError("division by zero")
    try:
        number = as_number(_ARITHMETIC[operator](first, second))
    except ArithmeticError:
        number = None
    if number is None:
        raise FailedExpressionError("the result has too many digits")
    return tidy(number)


def _plus(first: Any, second: Any) -> Any:
    if isinstance(first, str) or isinstance(second, str):
        return join((text_of(first), text_of(second)))
    return _result("+", _number(first), _number(second))


def _compared(first: Any, second: Any) -> int:
    order = compare(first, second)
    if order is None:
        raise FailedExpressionError(f"{_shown(first)} and {_shown(second)} have no order")
    return order


def _is_true(value: Any) -> bool:
    """Missing, null, empty text and 0 are not."""
    return value is not MISSING and bool(value)


@dataclass(frozen=True, slots=True)
class _Routine:
    """`most` None: any number of arguments."""

    least: int
    most: int | None
    run: Callable[..., Any]


def _call(name: str, arguments: Sequence[Expression]) -> Expression:
    count = len(arguments)
    if name == "if" and count == 3:
        condition, then, otherwise = arguments
        return lambda scope: then(scope) if _is_true(condition(scope)) else otherwise(scope)
    if name == "now" and count == 0:
        return lambda scope: format_milliseconds(scope.now)
    routine = _ROUTINES.get(name)
    if routine is None and name not in ("if", "now"):
        raise BrokenExpressionError(f"calls an unknown function: {name[:40]!r}")
    if routine is None or count < routine.least or (routine.most is not None and count > routine.most):
        raise BrokenExpressionError(f"calls {name} with {count} arguments")
    return lambda scope: routine.run(*(argument(scope) for argument in arguments))


def _round(value: Any, places: Any = 0) -> int | Decimal:
    """Halves go up, towards the larger number, as in JavaScript: 2.5 is 3 and -2.5 is -2."""
    scale = _whole(places)
    if abs(scale) > _MAX_DECIMAL_PLACES:
        raise FailedExpressionError(f"round has at most {_MAX_DECIMAL_PLACES} places")
    lifted = EXACT.add(EXACT.scaleb(_number(value), scale), Decimal("0.5"))
    return tidy(EXACT.scaleb(lifted.to_integral_value(ROUND_FLOOR), -scale))


def _whole(value: Any) -> int:
    number = _number(value)
    if number != number.to_integral_value() or abs(number) > 10**9:
        raise FailedExpressionError(f"{text_of(value)[:50]!r} is not a whole number")
    return int(number)


def _length(value: Any) -> int:
    if isinstance(value, (str, list)):
        return len(value)
    raise FailedExpressionError("only a text or a list has a length")


def _substring(value: Any, start: Any, end: Any = None) -> str:
    """From `start` up to, without, `end`. Borders outside the text are moved to it; crossed ones are exchanged."""
    text = text_of(value)
    first = min(max(_whole(start), 0), len(text))
    last = len(text) if end is None else min(max(_whole(end), 0), len(text))
    return text[min(first, last) : max(first, last)]


def _slice(value: Any, start: Any, count: Any = None) -> Any:
    """`count` characters or elements from `start` on, or all that follow."""
    values = value if isinstance(value, list) else text_of(value)
    first = max(_whole(start), 0)
    return values[first:] if count is None else values[first : first + max(_whole(count), 0)]


def _split(value: Any, separator: Any) -> list[str]:
    text, between = text_of(value), text_of(separator)
    return text.split(between) if between else list(text)


def _replace(value: Any, old: Any, new: Any) -> str:
    text, gone, added = text_of(value), text_of(old), text_of(new)
    if len(text) + text.count(gone) * (len(added) - len(gone)) > MAX_TEXT:
        raise TooLongTextError
    return text.replace(gone, added)


def _to_number(value: Any) -> int | Decimal:
    return tidy(_number(value))


_upper = _Routine(1, 1, lambda value: text_of(value).upper())
_lower = _Routine(1, 1, lambda value: text_of(value).lower())

_ROUTINES: Mapping[str, _Routine] = {
    "round": _Routine(1, 2, _round),
    "floor": _Routine(1, 1, lambda value: int(_number(value).to_integral_value(ROUND_FLOOR))),
    "ceil": _Routine(1, 1, lambda value: int(_number(value).to_integral_value(ROUND_CEILING))),
    "abs": _Routine(1, 1, lambda value: tidy(_number(value).copy_abs())),
    "min": _Routine(1, None, lambda *values: tidy(min(_number(value) for value in values))),
    "max": _Routine(1, None, lambda *values: tidy(max(_number(value) for value in values))),
    "concat": _Routine(0, None, lambda *values: join(text_of(value) for value in values)),
    "lower": _lower,
    "lowerCase": _lower,
    "upper": _upper,
    "upperCase": _upper,
    "trim": _Routine(1, 1, lambda value: text_of(value).strip()),
    "length": _Routine(1, 1, _length),
    "substring": _Routine(2, 3, _substring),
    "slice": _Routine(2, 3, _slice),
    "split": _Routine(2, 2, _split),
    "replace": _Routine(3, 3, _replace),
    "number": _Routine(1, 1, _to_number),
    "string": _Routine(1, 1, text_of),
}
