"""A document as plain values: headings, paragraphs, tables, figures. One content, three renderers.

Text may hold `code` and **bold**, as in Markdown; nothing else is marked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\([^)\s]+\)")
_MARKS = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*")


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the title."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of points."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Cells of text under a head; the first column is a name."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Code:
    """Lines to be typed."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A PNG or JPEG file with its caption."""

    path: Path
    caption: str


Block = Heading | Paragraph | Bullets | Table | Code | Picture


@dataclass(frozen=True)
class Span:
    """A piece of text of one kind: plain, code or bold."""

    text: str
    kind: str


def spans(text: str) -> Iterator[Span]:
    """Yield the pieces of a text in order."""
    end = 0
    for match in _MARKS.finditer(text):
        if match.start() > end:
            yield Span(text[end : match.start()], "plain")
        yield Span(match[1], "code") if match[1] else Span(match[2], "bold")
        end = match.end()
    if end < len(text):
        yield Span(text[end:], "plain")


def markdown(blocks: Sequence[Block], folder: Path) -> str:
    """Return a document as Markdown whose pictures are named relative to a folder."""
    return "\n\n".join(_markdown(block, folder) for block in blocks) + "\n"


def parse(text: str, folder: Path, deeper: int = 0) -> list[Block]:
    """Read the Markdown that this project writes; of a link its text is kept.

    Args:
        text: headings, paragraphs, tables, lists, fenced code and pictures alone in their line.
        folder: what its pictures are relative to.
        deeper: by how much headings sink.
    """
    return [_parsed(_LINK.sub(r"\1", part), folder, deeper) for part in _parts(text)]


def _parts(text: str) -> Iterator[str]:
    """Yield blocks: what blank lines part, fenced code whole."""
    for place, part in enumerate(re.split(r"^```.*\n?", text, flags=re.MULTILINE)):
        if place % 2:
            yield f"```{part}"
        else:
            yield from (piece.strip("\n") for piece in re.split(r"\n\s*\n", part) if piece.strip())


def _parsed(part: str, folder: Path, deeper: int) -> Block:
    lines = part.split("\n")
    if part.startswith("```"):
        return Code(part[3:].rstrip("\n"))
    if part.startswith("#"):
        marks, _, title = part.partition(" ")
        return Heading(title, len(marks) + deeper)
    if part.startswith("|"):
        head, _, *rows = [_cells(line) for line in lines]
        return Table(head, tuple(rows))
    if part.startswith("- "):
        return Bullets(tuple(line.removeprefix("- ") for line in lines))
    if match := re.fullmatch(r"!\[(.*)\]\((.*)\)", part):
        return Picture(folder / match[2], match[1])
    return Paragraph(" ".join(lines))


def _cells(line: str) -> tuple[str, ...]:
    inner = re.split(r"(?<!\\)\|", line.strip())[1:-1]
    return tuple(cell.strip().replace("\\|", "|") for cell in inner)


def _markdown(block: Block, folder: Path) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case Table(head, rows):
            lines = [head, ("---",) * len(head), *rows]
            rows_of_text = (" | ".join(map(table_text, line)) for line in lines)
            return "\n".join(f"| {row} |" for row in rows_of_text)
        case Code(text):
            return f"```bash\n{text}\n```"
        case Picture(path, caption):
            shown = f"![{caption}]({path.relative_to(folder).as_posix()})"
            return f"{shown}\n\n*{caption}*" if caption else shown


def table_text(text: str) -> str:
    """Return text as a Markdown table holds it."""
    return text.replace("|", "\\|")
