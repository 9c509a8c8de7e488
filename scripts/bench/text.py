"""Numbers as the page and the progress lines show them."""


def figure(value: float, unit: str = "") -> str:
    """Three digits that count, thousands set apart: 12 345, 104, 3.02, 0.123."""
    size = abs(value)
    if size >= 100 or value == round(value):
        text = f"{value:,.0f}".replace(",", " ")
    elif size >= 10:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}" if size >= 1 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def counted(value: int) -> str:
    return f"{value:,}".replace(",", " ")


def times(value: float) -> str:
    return f"{value:.2f} ×"
