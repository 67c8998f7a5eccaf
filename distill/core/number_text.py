"""Numbers as people read them: a few digits, powers of ten only where they are needed."""

from __future__ import annotations

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number_text(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; an em dash for None."""
    if value is None:
        return "—"
    text = f"{value:.{digits}g}"
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        if 0 <= int(exponent) < 7:
            text = f"{value:.0f}"
        else:
            text = f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return text.replace("-", "−")


def interval_text(interval: list[float] | tuple[float, float] | None, digits: int = 3) -> str:
    """`low to high`; an em dash for None."""
    if interval is None:
        return "—"
    return f"{number_text(interval[0], digits)} to {number_text(interval[1], digits)}"
