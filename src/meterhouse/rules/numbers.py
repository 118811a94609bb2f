"""Numbers of JSON, exact."""

from decimal import Decimal, InvalidOperation


def parse_decimal(text: str) -> Decimal:
    """Exact. ValueError where the exponent is beyond what decimals can hold."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the number {text[:40]} is out of range") from None
