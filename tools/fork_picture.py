"""Draws a fork as an SVG: the page tables just before it, right after it, and when the first of the
two processes leaves the program."""

import shlex

from tools import fork_layout, fork_report, page_tables
from tools.fork_layout import BOTH, CHILD, PARENT, Bar, Fold, Slot
from tools.fork_report import Moment, Report
from tools.page_tables import LEVEL_NAMES, Table
from tools.svg import Drawing

# Okabe and Ito's palette: told apart by nearly everybody, and on a bad projector.
_OWNER = {PARENT: ("#0072b2", "#e3f0f8"), CHILD: ("#d55e00", "#fcebdd"),
          BOTH: ("#6a3d9a", "#efe7f7")}
_KIND = {"anonymous": "#56b4e9", "file": "#f0e442", "zero": "#dddddd", "shared": "#cc79a7",
         "huge": "#3cb993"}
_OTHER_KIND = "#bbbbbb"

_MARGIN = 36
_BOX_WIDTH, _BOX_HEIGHT = 100, 36
_COLUMN = 134  # from one level's left edge to the next one's
_BARS_X = 3 * _COLUMN + _BOX_WIDTH + 12
_BARS_WIDTH = 176
_PANEL_WIDTH = _BARS_X + _BARS_WIDTH
_PANEL_GAP = 40
_ROW = 48
_TITLE_HEIGHT, _HEADING_HEIGHT, _LEVELS_HEIGHT = 64, 50, 44
_FIGURES_HEIGHT, _LEGEND_HEIGHT = 104, 74
_MOST_BARS = 6
_LONGEST_COMMAND = 100


def draw(report: Report, argv: list[str], nth: int) -> str:
    """The picture as SVG text. The report has at least the moments before and after the fork."""
    drawing = Drawing()
    _define_patterns(drawing)
    moments = [moment for moment in report.moments if moment.is_complete]
    panels = [_Panel(moment) for moment in moments]
    rows = max(panel.rows for panel in panels)
    width = 2 * _MARGIN + 3 * _PANEL_WIDTH + 2 * _PANEL_GAP
    tables_top = _TITLE_HEIGHT + _HEADING_HEIGHT + _LEVELS_HEIGHT
    tables_bottom = tables_top + rows * _ROW
    height = tables_bottom + _FIGURES_HEIGHT + _LEGEND_HEIGHT
    drawing.rectangle(0, 0, width, height, "#ffffff")
    command = _shorten(shlex.join(argv), _LONGEST_COMMAND)
    title = f"Page tables around fork {nth} of: {command}"
    drawing.text(_MARGIN, 42, title, 24, bold=True)
    for index, panel in enumerate(panels):
        x = _MARGIN + index * (_PANEL_WIDTH + _PANEL_GAP)
        drawing.rectangle(x - 14, _TITLE_HEIGHT, _PANEL_WIDTH + 28,
                          tables_bottom + _FIGURES_HEIGHT - _TITLE_HEIGHT - 12, "#fafafa",
                          "#cccccc", rx="6")
        _heading(drawing, x, index + 1, panel.moment, panels[index - 1].moment if index else None)
        panel.draw(drawing, x, tables_top, rows)
        _figures(drawing, x, tables_bottom + 18, panel.moment)
    if len(panels) < 3:
        drawing.text(width - _MARGIN - _PANEL_WIDTH, _TITLE_HEIGHT + 28,
                     "No third moment: a process was killed before.", 16, "#777")
    _legend(drawing, _MARGIN, height - _LEGEND_HEIGHT + 16)
    return drawing.finish(width, height, title)


def describe(moment: Moment) -> str:
    """A moment in a few words."""
    if moment.name == fork_report.BEFORE:
        return "just before the fork"
    if moment.name == fork_report.AFTER:
        return "right after the fork"
    return f"when the {moment.who} is about to {moment.how}"


def figures_of(moment: Moment) -> list[tuple[str, page_tables.Figures]]:
    parent, child = moment.parent.root, moment.child.root if moment.child else None
    lines = [(f"parent {moment.parent.pid}", page_tables.figures(parent, child))]
    if child is not None:
        lines.append((f"child {moment.child.pid}", page_tables.figures(child, parent)))
    return lines


def _define_patterns(drawing: Drawing) -> None:
    drawing.define('<pattern id="cow" width="6" height="6" patternUnits="userSpaceOnUse" '
                   'patternTransform="rotate(45)"><rect width="2" height="6" fill="#000" '
                   'fill-opacity=".45"/></pattern>')
    for owner, (colour, _) in _OWNER.items():
        drawing.define(f'<marker id="to-{owner}" viewBox="0 0 8 8" refX="7" refY="4" '
                       'markerWidth="7" markerHeight="7" orient="auto">'
                       f'<path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>')


def _heading(drawing: Drawing, x: float, number: int, moment: Moment,
             before: Moment | None) -> None:
    words = describe(moment)
    drawing.text(x, _TITLE_HEIGHT + 26, f"{number}  {words[0].upper()}{words[1:]}", 18, bold=True)
    if before is None:
        text = "every table has one owner"
    else:
        own = page_tables.figures(moment.child.root, None).own_tables
        tables = "table" if own == 1 else "tables"
        text = f"the child has {own} {tables} of its own: {_size(own * page_tables.TABLE_BYTES)}"
    drawing.text(x, _TITLE_HEIGHT + 46, text, 14, "#555")


def _figures(drawing: Drawing, x: float, y: float, moment: Moment) -> None:
    columns = (("tables", 190), ("of its own", 285), ("shared", 365), ("pages", 455),
               ("shared", 540))
    for name, right in columns:
        drawing.text(x + right, y, name, 13, "#777", anchor="end")
    for line, (name, figures) in enumerate(figures_of(moment)):
        baseline = y + 21 * (line + 1)
        drawing.text(x, baseline, name, 14, _OWNER[CHILD if line else PARENT][0], bold=True)
        numbers = (figures.tables, figures.own_tables, figures.shared_tables, figures.pages,
                   figures.shared_pages)
        for (_, right), value in zip(columns, numbers):
            drawing.text(x + right, baseline, f"{value:,}", 14, anchor="end")
        drawing.text(x + 565, baseline, f"{_size(figures.own_table_bytes)} of tables", 13, "#555")


def _legend(drawing: Drawing, x: float, y: float) -> None:
    entries = [("anonymous", _KIND["anonymous"]), ("file", _KIND["file"]), ("zero", _KIND["zero"]),
               ("shared mapping", _KIND["shared"]), ("2 MiB pages", _KIND["huge"])]
    at = x
    for name, colour in entries:
        drawing.rectangle(at, y, 26, 16, colour, "#555")
        drawing.text(at + 33, y + 13, name, 13)
        at += 50 + 7.5 * len(name)
    at += 10
    drawing.rectangle(at, y, 26, 16, "#fff", "#555")
    drawing.rectangle(at, y, 26, 16, "url(#cow)", "none")
    drawing.text(at + 33, y + 13, "pages write-protected for copy-on-write", 13)
    at += 310
    drawing.rectangle(at, y, 26, 16, "#fff", "#555")
    drawing.rectangle(at, y + 13, 26, 3, "#000", "none")
    drawing.text(at + 33, y + 13, "entry says writable", 13)
    at += 180
    drawing.rectangle(at, y, 26, 16, "#fff", _OWNER[BOTH][0], stroke_width="2.5")
    drawing.text(at + 33, y + 13, "pages that several entries lead to", 13)
    y += 28
    at = x
    for owner, name in ((PARENT, "parent's own"), (CHILD, "child's own"),
                        (BOTH, "shared by both: one table, drawn once")):
        colour, fill = _OWNER[owner]
        drawing.rectangle(at, y, 26, 16, fill, colour, stroke_width="2", rx="3")
        drawing.text(at + 33, y + 13, name, 13)
        at += 55 + 7.2 * len(name)
    for dashes, name in (("", "entry that may be written through"),
                         ("5 4", "entry write-protected: the table below is copied on write")):
        _arrow(drawing, at, y + 8, at + 44, y + 8, PARENT, dashes != "")
        drawing.text(at + 52, y + 13, name, 13)
        at += 80 + 7 * len(name)


class _Panel:
    """One moment: boxes of tables in four columns, bars of pages to their right."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        child = moment.child.root if moment.child is not None else None
        self._root = fork_layout.combine(moment.parent.root, child)
        self.rows = max(fork_layout.count_rows(self._root), 2 if child is not None else 1)

    def draw(self, drawing: Drawing, x: float, y: float, rows: int) -> None:
        self._drawing, self._x, self._y = drawing, x, y
        self._next_row = 0
        # (id of slot or fold, owner) -> middle of its box, in units of y.
        self._middles: dict[tuple[int, str], float] = {}
        self._rows: dict[tuple[int, str], float] = {}  # of tables that have a line themselves
        self._columns: dict[int, list[tuple[int, str]]] = {}
        for level, name in LEVEL_NAMES.items():
            left = x + (4 - level) * _COLUMN
            drawing.text(left, y - 22, name, 14, bold=True)
            drawing.text(left, y - 7, f"{_size(page_tables.LEVEL_BYTES[level])} each", 11, "#777")
        drawing.text(x + _BARS_X, y - 22, "pages", 14, bold=True)
        drawing.text(x + _BARS_X, y - 7, "with their number", 11, "#777")
        self._place(self._root)
        self._spread(rows)
        self._connect(self._root)
        self._boxes(self._root)

    # ---- Places: leaves get lines from the top, tables above stand in the middle of theirs.

    def _take_row(self) -> float:
        self._next_row += 1
        return self._y + (self._next_row - 0.5) * _ROW

    def _put(self, item: Slot | Fold, owner: str, middle: float) -> None:
        self._middles[id(item), owner] = middle
        self._columns.setdefault(item.level, []).append((id(item), owner))

    def _place(self, item: Slot | Fold) -> None:
        if isinstance(item, Fold):
            middle = self._take_row()
            for owner in item.owners:
                self._put(item, owner, middle)
            return
        for below in item.below:
            self._place(below)
        for owner in item.owners:
            middles = [self._middles[id(below), whose] for below, whose in item.below_of(owner)]
            if item.needs_row(owner):
                self._rows[id(item), owner] = self._take_row()
                middles.append(self._rows[id(item), owner])
            self._put(item, owner, (min(middles) + max(middles)) / 2)

    def _spread(self, rows: int) -> None:
        """Moves boxes of one column apart that would cover each other."""
        pitch = _BOX_HEIGHT + 10
        for level, column in self._columns.items():
            if level == 1:
                continue
            column.sort(key=lambda key: (self._middles[key], key[1] == CHILD))
            for above, below in zip(column, column[1:]):
                overlap = pitch - (self._middles[below] - self._middles[above])
                if overlap > 0:
                    self._middles[below] += overlap
            limit = self._y + rows * _ROW - _ROW / 2
            for key in reversed(column):
                self._middles[key] = min(self._middles[key], limit)
                limit = self._middles[key] - pitch

    # ---- Arrows and boxes

    def _connect(self, slot: Slot) -> None:
        for below in slot.below:
            if isinstance(below, Slot):
                self._connect(below)
        for owner in slot.owners:
            for below, whose in slot.below_of(owner):
                table = below.table_of(owner if whose == BOTH else whose)
                if table is not None:
                    self._arrow_to(slot, owner, below, whose, not table.is_writable)

    def _arrow_to(self, slot: Slot, owner: str, below: Slot | Fold, target: str,
                  is_protected: bool) -> None:
        left = self._x + (4 - slot.level) * _COLUMN + _BOX_WIDTH
        end = self._middles[id(below), target]
        # Where two arrows come to one box they keep apart.
        end += {PARENT: -6, CHILD: 6, BOTH: 0}[owner] if target == BOTH else 0
        _arrow(self._drawing, left, self._middles[id(slot), owner],
               self._x + (4 - below.level) * _COLUMN, end, owner, is_protected)

    def _boxes(self, item: Slot | Fold) -> None:
        left = self._x + (4 - item.level) * _COLUMN
        if isinstance(item, Fold):
            self._fold_box(item, left)
            return
        for owner in item.owners:
            table = item.table_of(owner)
            middle = self._middles[id(item), owner]
            self._box(table, owner, left, middle)
            if table.runs:
                self._bars(item, owner, left + _BOX_WIDTH)
        for below in item.below:
            self._boxes(below)

    def _box(self, table: Table, owner: str, left: float, middle: float) -> None:
        drawing, (colour, fill) = self._drawing, _OWNER[owner]
        top = middle - _BOX_HEIGHT / 2
        drawing.rectangle(left, top, _BOX_WIDTH, _BOX_HEIGHT, fill, colour, stroke_width="2",
                          rx="4")
        if table.level == 4:
            pid = (self.moment.child if owner == CHILD else self.moment.parent).pid
            drawing.text(left + 7, middle - 3, f"{owner} {pid}", 13, colour, bold=True)
            drawing.text(left + 7, middle + 12, f"{table.entries} used", 12)
            return
        drawing.text(left + 7, middle - 3, f"{table.entries} used", 13, bold=True)
        drawing.text(left + 7, middle + 12, f"{table.start:x}", 11, "#444", mono=True)
        if table.refs > 1:
            drawing.rectangle(left + _BOX_WIDTH - 38, top - 11, 46, 16, colour, "#fff", rx="8")
            drawing.text(left + _BOX_WIDTH - 15, top + 1, f"refs {table.refs}", 11, "#fff",
                         anchor="middle", bold=True)

    def _fold_box(self, fold: Fold, left: float) -> None:
        middle = self._middles[id(fold), fold.owners[0]]
        colour = _OWNER[BOTH if len(fold.owners) > 1 else fold.owners[0]][0]
        pages = sum((slot.parent or slot.child).pages for slot in fold.slots)
        alike = "like it" if fold.is_alike else LEVEL_NAMES[fold.level] + "s"
        self._drawing.rectangle(left, middle - 12, _BOX_WIDTH, 24, "#ffffff", colour,
                                stroke_dasharray="3 3", rx="4")
        self._drawing.text(left + _BOX_WIDTH / 2, middle + 5,
                           f"… {len(fold.slots):,} {alike}", 12, colour, anchor="middle")
        self._drawing.text(self._x + _BARS_X, middle + 5, f"… {pages:,} pages", 12, "#555")

    def _bars(self, slot: Slot, owner: str, left: float) -> None:
        drawing, table = self._drawing, slot.table_of(owner)
        at = self._x + _BARS_X
        middle = self._rows[id(slot), owner]
        if table.level == 2:
            # Large pages are leaves of the PD itself: a line through the column of the PTs.
            drawing.path(f"M{left:.0f} {self._middles[id(slot), owner]:.0f}L{left + 24:.0f} "
                         f"{middle:.0f}L{at - 4:.0f} {middle:.0f}", _OWNER[owner][0],
                         stroke_width="1.8")
        shown, rest = fork_layout.bars(table, _MOST_BARS)
        widths = [_bar_width(bar) for bar in shown]
        room = _BARS_WIDTH - (34 if rest else 0)
        scale = min(1.0, room / sum(widths))
        for bar, width in zip(shown, widths):
            width *= scale
            self._bar(bar, at, middle - _BOX_HEIGHT / 2 + 1, width - 3)
            at += width
        if rest:
            drawing.text(at + 2, middle - 3, f"+{rest}", 12, "#555")
        view = self.moment.child if owner == CHILD else self.moment.parent
        names = []
        for run in table.runs:
            for region in view.regions:
                if region.start < run.end and run.start < region.end and region.name and \
                        region.name not in names:
                    names.append(region.name)
        drawing.text(self._x + _BARS_X, middle + 17, _shorten(" · ".join(names), 30), 11, "#555")

    def _bar(self, bar: Bar, x: float, y: float, width: float) -> None:
        drawing = self._drawing
        colour = _KIND["huge"] if bar.is_huge else _KIND.get(bar.kind, _OTHER_KIND)
        stroke = {"stroke_width": "2.5"} if bar.is_shared else {}
        drawing.rectangle(x, y, width, 19, colour, _OWNER[BOTH][0] if bar.is_shared else "#555",
                          **stroke)
        if bar.is_cow:
            drawing.rectangle(x, y, width, 19, "url(#cow)", "none")
        if bar.is_writable:
            drawing.rectangle(x, y + 16, width, 3, "#000", "none")
        drawing.text(x + width / 2, y + 13.5, str(bar.leaves), 12, "#000", anchor="middle",
                     halo=colour if bar.is_cow else None)


def _bar_width(bar: Bar) -> float:
    """Grows with the number of pages, slowly, and has room for the number."""
    return max(22 + 7 * bar.leaves.bit_length(), 14 + 8 * len(str(bar.leaves)))


def _arrow(drawing: Drawing, x: float, y: float, to_x: float, to_y: float, owner: str,
           is_protected: bool) -> None:
    bend = (to_x - x) / 2
    dashes = {"stroke_dasharray": "5 4"} if is_protected else {}
    drawing.path(f"M{x:.1f} {y:.1f}C{x + bend:.1f} {y:.1f} {to_x - bend:.1f} {to_y:.1f} "
                 f"{to_x:.1f} {to_y:.1f}", _OWNER[owner][0], stroke_width="1.8",
                 marker_end=f"url(#to-{owner})", **dashes)


def _size(size_bytes: int) -> str:
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")):
        if size_bytes >= unit and size_bytes % unit == 0:
            return f"{size_bytes // unit} {name}"
    return f"{size_bytes // 1024:,} KiB"


def _shorten(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest - 1] + "…"
