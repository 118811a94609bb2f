import pytest

from meterhouse.rules.comparisons import COMPARISONS
from meterhouse.rules.records import MISSING


@pytest.mark.parametrize(
    ("found", "operation", "value", "holds"),
    [
        ("Needs service", "eq", "Needs service", True),
        (5, "eq", "5.0", True),
        (True, "eq", "true", True),
        (MISSING, "eq", "x", False),
        (MISSING, "ne", "x", True),
        (None, "ne", "null", False),
        (20, "lt", "21", True),
        ("9", "lt", "21", True),
        (21, "lt", "21", False),
        (21, "le", "21", True),
        (91, "gt", "90", True),
        (90, "ge", "90", True),
        (MISSING, "lt", "21", False),
        (None, "lt", "21", False),
        ("many", "lt", "21", False),
        ("many", "gt", "21", True),
        ("2026-01-02", "gt", "2026-01-01", True),
        ("abc", "contains", "b", True),
        (["a", 2], "contains", "2", True),
        (["a", 2], "contains", "3", False),
        (MISSING, "contains", "", False),
        ("abc", "startsWith", "ab", True),
        (46701, "startsWith", "46", True),
        ("abc", "endsWith", "bc", True),
        (MISSING, "endsWith", "", False),
        (0, "exists", None, True),
        (None, "exists", None, False),
        (MISSING, "exists", None, False),
    ],
)
def test_comparisons_hold_or_not(found, operation, value, holds):
    assert COMPARISONS[operation](found, value) is holds
