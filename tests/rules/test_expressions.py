from decimal import Decimal

import pytest

from meterhouse.rules.expressions import BrokenExpressionError, FailedExpressionError, Scope, compile_expression
from tests.streams.nodes.make import NOW

PAYLOAD = {"n": 7, "price": Decimal("0.1"), "text": "Ab c", "numeric": "4", "list": [1, 2, 3], "off": False, "zero": 0}


def field(name):
    return ["IP", f"${{payload.{name}}}"]


def call(name, *arguments):
    return ["call", ["R", name], list(arguments)]


def number(value):
    return ["N", value]


def text(value):
    return ["S", value]


def value_of(ast):
    return compile_expression(ast)(Scope(PAYLOAD, NOW))


@pytest.mark.parametrize(
    ("ast", "value"),
    [
        (text("Hi ${payload.n}"), "Hi ${payload.n}"),
        (number(5), 5),
        (number("5.50"), Decimal("5.5")),
        (["B", True], True),
        (field("n"), 7),
        (["aop", "*", ["R", "n"], ["R", "list.1"]], 14),
        (["aop", "+", field("price"), number(Decimal("0.2"))], Decimal("0.3")),
        (["aop", "+", text("n"), field("n")], "n7"),
        (["aop", "+", field("numeric"), field("n")], "47"),
        (["aop", "+", text("x"), field("gone")], "x"),
        (["aop", "-", field("numeric"), number(1)], 3),
        (["aop", "*", field("price"), number(30)], 3),
        (["aop", "-", field("numeric")], -4),
        (["aop", "+", ["aop", "+", text("a"), text("b")]], "ab"),
        (["aop", "/", number(1), number(8)], Decimal("0.125")),
        (["aop", "/", number(2), number(3)], Decimal("0.6666666666666666666666666666666667")),
        (["aop", "%", number(-7), number(3)], -1),
        (["aop", "%", number(Decimal("5.5")), number(2)], Decimal("1.5")),
        (["aop", "*", number(10**40 + 1), number(10**40 + 1)], (10**40 + 1) ** 2),
        (["cop", "==", field("numeric"), number(4)], True),
        (["cop", "!=", field("text"), text("Ab c")], False),
        (["cop", ">", field("n"), field("numeric")], True),
        (["cop", ">=", number(4), field("numeric")], True),
        (["cop", "<", text("a"), text("b")], True),
        (["cop", "<=", number(5), number(4)], False),
        (["lop", "and", ["B", True], field("zero")], False),
        (["lop", "or", field("off"), field("text")], True),
        (["lop", "or", ["B", True], ["aop", "/", number(1), number(0)]], True),
        (["not", field("gone")], True),
        (call("round", number(Decimal("2.5"))), 3),
        (call("round", number(Decimal("-2.5"))), -2),
        (call("round", number(Decimal("1.005")), number(2)), Decimal("1.01")),
        (call("round", number(1250), number(-2)), 1300),
        (call("floor", number(Decimal("-1.1"))), -2),
        (call("ceil", number(Decimal("1.1"))), 2),
        (call("abs", number(-3)), 3),
        (call("min", number(3), field("numeric"), number(2)), 2),
        (call("max", number(3), field("numeric")), 4),
        (call("concat", text("a"), number(1), field("gone"), field("list")), "a1[1,2,3]"),
        (call("lower", field("text")), "ab c"),
        (call("upperCase", field("text")), "AB C"),
        (call("trim", text("  x ")), "x"),
        (call("length", field("text")), 4),
        (call("length", field("list")), 3),
        (call("substring", text("abcdef"), number(1), number(3)), "bc"),
        (call("substring", text("abc"), number(2)), "c"),
        (call("substring", text("abc"), number(9), number(-1)), "abc"),
        (call("slice", text("abcdef"), number(1), number(3)), "bcd"),
        (call("slice", field("list"), number(1)), [2, 3]),
        (call("split", text("a.b"), text(".")), ["a", "b"]),
        (call("replace", text("a-b-c"), text("-"), text("+")), "a+b+c"),
        (call("number", field("numeric")), 4),
        (call("string", field("price")), "0.1"),
        (call("now"), "2026-01-31T12:00:00.000Z"),
        (call("if", ["B", False], ["aop", "/", number(1), number(0)], text("else")), "else"),
    ],
)
def test_expressions_have_exact_values(ast, value):
    found = value_of(ast)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("ast", "reason"),
    [
        (["aop", "/", number(1), field("zero")], "division by zero"),
        (["aop", "%", number(1), number(0)], "division by zero"),
        (["aop", "*", field("text"), number(2)], "'Ab c' is not a number"),
        (["aop", "+", field("gone"), number(2)], "a missing value is not a number"),
        (["aop", "-", field("off"), number(2)], "'false' is not a number"),
        (["cop", "<", field("text"), number(2)], "have no order"),
        (["aop", "*", number("1e900"), number("1e900")], "too many digits"),
        (call("number", text("four")), "not a number"),
        (call("length", number(4)), "only a text or a list"),
        (call("round", number(4), number(1000)), "at most 100 places"),
    ],
)
def test_an_expression_without_a_value_fails_with_a_reason(ast, reason):
    with pytest.raises(FailedExpressionError, match=reason):
        value_of(ast)


@pytest.mark.parametrize(
    ("ast", "reason"),
    [
        (None, "is not understood"),
        (["X", 1], "is not understood"),
        (["N", "one"], "is not understood"),
        (["aop", "**", number(1), number(2)], "unknown operator"),
        (["lop", "xor", number(1), number(2)], "unknown operator"),
        (call("system", text("rm")), "unknown function"),
        (call("round"), "with 0 arguments"),
        (call("if", number(1)), "with 1 arguments"),
    ],
)
def test_a_broken_expression_is_refused_before_any_record(ast, reason):
    with pytest.raises(BrokenExpressionError, match=reason):
        compile_expression(ast)


def test_an_expression_nested_without_end_is_refused():
    ast = number(1)
    for _ in range(5000):
        ast = ["not", ast]
    with pytest.raises(BrokenExpressionError, match="nested"):
        compile_expression(ast)
