"""Numbers of JSON, exact."""

from decimal import Decimal, InvalidOperation


def parse_decimal(text: str) -> Decimal:
    """Exact. ValueError where the exponent is beyond what decimals can hold."""
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the number {text[:40]} is out of range") from None


def digits(number: Decimal | int) -> str:
    """Exact, without exponent and trailing zeros: 51, 176.5, 0.0000001."""
    text = format(Decimal(number), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
