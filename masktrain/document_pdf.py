"""A document as PDF pages, set by ReportLab."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image as PillowImage
from reportlab.lib import colors
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    Image,
    KeepTogether,
    ListFlowable,
    ListItem,
    Preformatted,
    SimpleDocTemplate,
    Spacer,
)
from reportlab.platypus import Paragraph as Text
from reportlab.platypus import Table as Grid

from masktrain.document import Block, Bullets, Code, Heading, Paragraph, Picture, Table, spans

MARGIN = 20 * mm
WIDTH = A4[0] - 2 * MARGIN
TALLEST = 0.34 * (A4[1] - 2 * MARGIN)
TALLEST_NARROW = 0.85 * (A4[1] - 2 * MARGIN)
"""Of pictures twice as high as wide: lists, whose small letters are to be read."""
CODE_COLUMNS = 100
LINE_LETTERS, MOST_LETTERS = 88, 60
"""Letters of a table across the page, and of a column without a break."""
PICTURE_DPI = 160
ROOM_FOR_HEADING = 60 * mm

for _name, _file in (
    ("Plain", "DejaVuSans"),
    ("Strong", "DejaVuSans-Bold"),
    ("Mono", "DejaVuSansMono"),
):
    # matplotlib brings them along; PDF's own fonts lack many letters.
    _font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{_file}.ttf"
    pdfmetrics.registerFont(TTFont(_name, str(_font)))

_BODY = ParagraphStyle("body", fontName="Plain", fontSize=9.5, leading=14, spaceAfter=6)
_CELL = ParagraphStyle("cell", parent=_BODY, fontSize=8, leading=10, spaceAfter=0)
_HEAD = ParagraphStyle("head", parent=_CELL, fontName="Strong")
_SMALL_CELL = ParagraphStyle("small", parent=_CELL, fontSize=6.6, leading=8.5)
_SMALL_HEAD = ParagraphStyle("small head", parent=_SMALL_CELL, fontName="Strong")
_CAPTION = ParagraphStyle("caption", parent=_BODY, fontSize=8.5, leading=11, textColor="#555555")
_CODE = ParagraphStyle("code", fontName="Mono", fontSize=7.5, leading=10, backColor="#f2f4f6",
                       borderPadding=4, spaceBefore=4, spaceAfter=8)  # fmt: skip
_TITLES = {
    level: ParagraphStyle(
        f"h{level}", parent=_BODY, fontName="Strong", fontSize=size, leading=1.25 * size,
        spaceBefore=before, spaceAfter=6, alignment=TA_LEFT, keepWithNext=1,
    )
    for level, size, before in ((1, 20, 0), (2, 14, 14), (3, 11, 8), (4, 10, 6))
}  # fmt: skip


def write_pdf(blocks: Sequence[Block], path: Path) -> None:
    """Write a document as PDF; the same document gives the same bytes.

    Raises:
        OSError: a picture cannot be read, or the file not be written.
    """
    title = next(block.text for block in blocks if isinstance(block, Heading))
    document = SimpleDocTemplate(
        str(path), pagesize=A4, title=title, author="masktrain", invariant=1,
        leftMargin=MARGIN, rightMargin=MARGIN, topMargin=MARGIN, bottomMargin=MARGIN,
    )  # fmt: skip
    flowables: list[Flowable] = []
    for block in blocks:
        flowables += _flowables(block)
    document.build(flowables, onFirstPage=_number, onLaterPages=_number)


def _number(canvas: Any, document: Any) -> None:
    canvas.setFont("Plain", 8)
    canvas.setFillColor(colors.HexColor("#777777"))
    canvas.drawRightString(A4[0] - MARGIN, 12 * mm, str(document.page))


def _flowables(block: Block) -> list[Flowable]:
    match block:
        case Heading(text, level):
            title = Text(_inline(text), _TITLES[min(level, max(_TITLES))])
            return [CondPageBreak(ROOM_FOR_HEADING), title] if level == 2 else [title]
        case Paragraph(text):
            return [Text(_inline(text), _BODY)]
        case Bullets(items):
            lines = [ListItem(Text(_inline(item), _BODY), leftIndent=12) for item in items]
            return [ListFlowable(lines, bulletType="bullet", start="•", leftIndent=12)]
        case Table(head, rows):
            return [_grid(head, rows), Spacer(1, 8)]
        case Code(text):
            return [Preformatted(text, _CODE, maxLineLength=CODE_COLUMNS, splitChars=" ")]
        case Picture(path, caption):
            caption_text = Text(_inline(caption), _CAPTION)
            return [KeepTogether([_image(path), Spacer(1, 3), caption_text]), Spacer(1, 6)]


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    widths, crowded = _widths([head, *rows])
    of_head, of_cell = (_SMALL_HEAD, _SMALL_CELL) if crowded else (_HEAD, _CELL)
    cells = [[Text(_inline(cell), of_head) for cell in head]]
    cells += [[Text(_inline(cell), of_cell) for cell in row] for row in rows]
    grid = Grid(cells, colWidths=widths, repeatRows=1)
    grid.setStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LINEBELOW", (0, 0), (-1, 0), 0.8, colors.HexColor("#888888")),
            ("LINEBELOW", (0, 1), (-1, -1), 0.3, colors.HexColor("#cccccc")),
            ("LEFTPADDING", (0, 0), (-1, -1), 2),
            ("RIGHTPADDING", (0, 0), (-1, -1), 4),
        ]
    )
    return grid


def _widths(rows: Sequence[Sequence[str]]) -> tuple[list[float], bool]:
    """Return the widths of columns: wide ones for long text, none so narrow that words break; and
    whether small letters are needed for that."""
    columns = list(zip(*rows, strict=True))
    words = [
        max(len(word) for text in column for word in text.split() or [""]) for column in columns
    ]
    wanted = [min(max(map(len, column)), MOST_LETTERS) for column in columns]
    needed = [max(word, 6) + 1 for word in words]
    more = [max(0, want - need) for want, need in zip(wanted, needed, strict=True)]
    spare = max(0.0, LINE_LETTERS - sum(needed))
    shares = [
        need + (spare * one / sum(more) if sum(more) else 0)
        for need, one in zip(needed, more, strict=True)
    ]
    return [WIDTH * share / sum(shares) for share in shares], sum(needed) > LINE_LETTERS


def _image(path: Path) -> Image:
    with PillowImage.open(path) as opened:
        width, height = opened.size
    tallest = TALLEST_NARROW if height > 2 * width else TALLEST
    scale = min(WIDTH / width, tallest / height, 72 / PICTURE_DPI)
    return Image(str(path), width * scale, height * scale)


def _inline(text: str) -> str:
    tags = {
        "plain": "{}",
        "code": '<font name="Mono">{}</font>',
        "bold": '<font name="Strong">{}</font>',
    }
    return "".join(tags[span.kind].format(html.escape(span.text)) for span in spans(text))
