"""Canonical JSON, compared with a writer that was written from its description."""

import json
import random
from decimal import Decimal

import pytest

from meterhouse.rules.chain import canonical, period_hash

CHARACTERS = 'a"\\/\b\f\n\r\t\x00\x1f\x7f\xe9\u2028\ue000\uffff\U0001f600'


def written(value):
    if isinstance(value, dict):
        return "{" + ",".join(f"{written(name)}:{written(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        text = format(Decimal(value), "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    return json.dumps(value, ensure_ascii=False)


def anything(chance, depth=0):
    def text():
        return "".join(chance.choices(CHARACTERS, k=chance.randint(0, 4)))

    kind = chance.randrange(5 if depth == 5 else 7)
    if kind == 5:
        return [anything(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    if kind == 6:
        return {text(): anything(chance, depth + 1) for _ in range(chance.randint(0, 4))}
    number = Decimal(chance.randint(-(10**12), 10**12)).scaleb(chance.randint(-20, 20))
    return [chance.choice([None, True, False]), chance.randint(-(10**30), 10**30), number, text(), Decimal("-0.00")][
        kind
    ]


def test_ten_thousand_values_are_written_as_described():
    chance = random.Random(1)
    for _ in range(10_000):
        value = anything(chance)
        assert canonical(value).decode() == written(value)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Decimal("51.0"), "51"),
        (Decimal("176.50"), "176.5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-9"), "0.000000001"),
        (Decimal("-0.0"), "0"),
        (10**40, "1" + "0" * 40),
        (Decimal("1e-1000"), "0." + "0" * 999 + "1"),
        (True, "true"),
    ],
)
def test_numbers_are_plain_digits(number, text):
    assert canonical([number]).decode() == f"[{text}]"


def test_members_are_sorted_by_code_point_and_not_by_utf16():
    assert list(json.loads(canonical({"\U0001f600": 1, "\uffff": 2, "b": 3, "B": 4, "": 5}))) == [
        *("", "B", "b", "\uffff", "\U0001f600")
    ]


def test_the_hash_is_of_all_but_itself():
    period = {"value": Decimal("1.50"), "customFields": {"hash": "inner"}}
    assert period_hash(period) == period_hash(period | {"hash": "anything"})
    assert period_hash(period) == "1236eb122ec7fb16fa660a4dcb7d0c286411eef8f995d4e95ed6f088fbc6500f"
    assert period_hash(period) != period_hash(period | {"customFields": {}})
