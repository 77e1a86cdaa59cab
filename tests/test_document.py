"""One document, three renderers: what is said is in all of them, and nothing else is fetched."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import write_rgb

from masktrain.document import (
    Block,
    Bullets,
    Code,
    Heading,
    Paragraph,
    Picture,
    Table,
    markdown,
    parse,
    spans,
)
from masktrain.document_html import html_page
from masktrain.document_pdf import write_pdf


@pytest.fixture
def blocks(tmp_path: Path) -> list[Block]:
    write_rgb(tmp_path / "figures" / "a.png", np.full((30, 40, 3), 90, np.uint8))
    return [
        Heading("A title & more", 1),
        Paragraph("Plain, `a < b` and **bold**."),
        Heading("First part"),
        Bullets(("one `x`", "two")),
        Table(("name", "value"), (("a|b", "1"), ("c", "2"))),
        Code("python -m masktrain.train --epochs 2\nsecond"),
        Heading("Deeper", 3),
        Picture(tmp_path / "figures" / "a.png", "A grey one"),
    ]


def test_markdown_is_read_back_as_it_was_written(blocks: list[Block], tmp_path: Path) -> None:
    found = parse(markdown(blocks, tmp_path), tmp_path)
    assert [block for block in found if block != Paragraph("*A grey one*")] == blocks


def test_headings_sink_where_a_document_is_put_into_another(tmp_path: Path) -> None:
    assert parse("# A\n\n## B", tmp_path, deeper=2) == [Heading("A", 3), Heading("B", 4)]


def test_lines_of_a_paragraph_are_joined_and_code_keeps_its_blank_lines(tmp_path: Path) -> None:
    found = parse("one\ntwo\n\n```\na\n\nb\n```\n\n- x\n- y\n", tmp_path)
    assert found == [Paragraph("one two"), Code("a\n\nb"), Bullets(("x", "y"))]


def test_spans_are_plain_code_and_bold() -> None:
    assert [(span.text, span.kind) for span in spans("a `b` **c** d*e")] == [
        ("a ", "plain"),
        ("b", "code"),
        (" ", "plain"),
        ("c", "bold"),
        (" d*e", "plain"),
    ]


def test_html_holds_everything_and_needs_nothing(blocks: list[Block]) -> None:
    page = html_page(blocks)
    for text in ("A title &amp; more", "<code>a &lt; b</code>", "<strong>bold</strong>", "a|b"):
        assert text in page
    assert '<a href="#first-part">First part</a>' in page and 'id="first-part"' in page
    assert re.findall(r'src="([^"]{0,22})', page) == ["data:image/png;base64,"]
    assert not re.search(r"https?://|<script|@import|url\(", page)
    assert page.count("<li>") == 2 and page.count("<tr>") == 3


def test_what_looks_like_markup_is_text() -> None:
    page = html_page([Heading("<script>x</script>", 1), Paragraph("<b>no</b>")])
    assert "<script>" not in page and "&lt;b&gt;no" in page


def test_a_pdf_has_pages_and_the_same_bytes_each_time(blocks: list[Block], tmp_path: Path) -> None:
    long = [*blocks, *[Paragraph("word " * 300)] * 12]
    for name in ("a.pdf", "b.pdf"):
        write_pdf(long, tmp_path / name)
    one = (tmp_path / "a.pdf").read_bytes()
    assert one.startswith(b"%PDF") and one == (tmp_path / "b.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", one)) >= 3


def test_wide_tables_and_tall_pictures_fit_on_a_page(tmp_path: Path) -> None:
    write_rgb(tmp_path / "tall.png", np.zeros((3000, 100, 3), np.uint8))
    row = tuple("0.123 (0.111 to 0.134)" for _ in range(8))
    write_pdf(
        [
            Heading("t", 1),
            Table(("a rather long name",) * 8, (row,) * 60),
            Picture(tmp_path / "tall.png", "x"),
        ],
        tmp_path / "a.pdf",
    )
    assert (tmp_path / "a.pdf").stat().st_size > 2000
