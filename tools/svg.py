"""A few shapes of SVG 1.1 as text, escaped."""

from xml.sax.saxutils import escape, quoteattr

_SANS = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
_MONO = "'DejaVu Sans Mono', Menlo, Consolas, monospace"


class Drawing:
    """Shapes in the order in which they are painted. Coordinates in user units, y downwards."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._definitions: list[str] = []

    def define(self, xml: str) -> None:
        self._definitions.append(xml)

    def rectangle(self, x: float, y: float, width: float, height: float, fill: str,
                  stroke: str = "none", **more: str) -> None:
        self._parts.append(f'<rect x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" '
                           f'height="{_number(height)}" fill={quoteattr(fill)} '
                           f'stroke={quoteattr(stroke)}{_attributes(more)}/>')

    def path(self, data: str, stroke: str, **more: str) -> None:
        self._parts.append(f'<path d={quoteattr(data)} fill="none" '
                           f'stroke={quoteattr(stroke)}{_attributes(more)}/>')

    def text(self, x: float, y: float, words: str, size: float = 13, fill: str = "#222",
             anchor: str = "start", bold: bool = False, mono: bool = False,
             halo: str | None = None) -> None:
        """`halo`: a colour around the letters, to be read on a pattern."""
        if not words:
            return
        around = "" if halo is None else \
            f' stroke="{halo}" stroke-width="4" paint-order="stroke"'
        weight = ' font-weight="bold"' if bold else ""
        family = ' class="m"' if mono else ""
        self._parts.append(f'<text x="{_number(x)}" y="{_number(y)}" font-size="{_number(size)}" '
                           f'fill="{fill}" text-anchor="{anchor}"{weight}{family}{around}>'
                           f'{escape(words)}</text>')

    def begin_group(self, tooltip: str) -> None:
        """Until end_group(): what shows `tooltip` under the pointer."""
        self._parts.append(f"<g><title>{escape(tooltip)}</title>")

    def end_group(self) -> None:
        self._parts.append("</g>")

    def finish(self, width: float, height: float, title: str) -> str:
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_number(width)} '
                f'{_number(height)}" width="{_number(width)}" height="{_number(height)}">')
        style = f"text{{font-family:{_SANS}}}.m{{font-family:{_MONO}}}"
        return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{style}</style>",
                          "<defs>", *self._definitions, "</defs>", *self._parts, "</svg>", ""])


def _number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _attributes(more: dict[str, str]) -> str:
    return "".join(f" {name.replace('_', '-')}={quoteattr(value)}" for name, value in more.items())
