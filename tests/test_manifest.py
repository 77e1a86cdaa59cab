"""The manifest holds a row for everything, and a journal survives a crash at any byte."""

from pathlib import Path

import pytest

from MaskTheFace.manifest import (
    COLUMNS,
    Journal,
    ManifestRow,
    format_box,
    read_manifest,
    write_manifest,
)

AWKWARD = ManifestRow(
    path="train/a.jpg", source='ä,"b"\n顔.jpg', reason="line one\nline two", style='{"a":[1,2]}'
)


def rows_of(source: str, folder: Path, count: int = 2) -> list[ManifestRow]:
    """Return rows of one source whose outputs are there."""
    rows = [ManifestRow(path=f"{source}-{i}.jpg", source=source) for i in range(count)]
    for row in rows:
        (folder / row.path).touch()
    return rows


def test_rows_survive_the_file_whatever_they_hold(tmp_path: Path) -> None:
    rows = [AWKWARD, ManifestRow(source="bad.jpg", status="failed", reason="empty")]
    write_manifest(tmp_path / "manifest.csv", rows)
    assert read_manifest(tmp_path / "manifest.csv") == rows
    assert (tmp_path / "manifest.csv").read_text(encoding="utf-8").startswith(",".join(COLUMNS))


def test_columns_of_another_version_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text("path,mood,source\na.jpg,good,b.jpg\n", encoding="utf-8")
    assert read_manifest(path) == [ManifestRow(path="a.jpg", source="b.jpg")]


def test_a_journal_gives_back_what_was_finished(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.csv")
    for name in "abc":
        journal.add(rows_of(name, tmp_path))
    journal.close()
    # Of the last one it cannot be known whether all rows arrived.
    again = Journal(tmp_path / "j.csv")
    again.close()
    assert sorted(again.done) == ["a", "b"]


def test_what_failed_or_was_lost_is_done_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.csv")
    journal.add(rows_of("kept", tmp_path))
    journal.add([ManifestRow(source="failed", status="failed", reason="no dlib")])
    journal.add(rows_of("lost", tmp_path))
    journal.add(rows_of("last", tmp_path))
    journal.close()
    (tmp_path / "lost-1.jpg").unlink()
    again = Journal(tmp_path / "j.csv")
    assert list(again.done) == ["kept"]
    again.close()
    assert {row.source for row in read_manifest(tmp_path / "j.csv")} == {"kept"}


def test_a_journal_cut_at_any_byte_never_gives_back_half_a_source(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.csv")
    whole = {name: rows_of(name, tmp_path) for name in ("ä", "b", "c")}
    for rows in whole.values():
        journal.add(rows)
    journal.close()
    data = (tmp_path / "j.csv").read_bytes()
    for length in range(0, len(data), 3):
        (tmp_path / "cut.csv").write_bytes(data[:length])
        resumed = Journal(tmp_path / "cut.csv")
        resumed.close()
        assert all(whole[name] == rows for name, rows in resumed.done.items())


def test_a_journal_goes_away_when_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "deep" / "j.csv")
    journal.add([AWKWARD])
    journal.remove()
    assert not list((tmp_path / "deep").iterdir())


@pytest.mark.parametrize(
    ("box", "text"), [((0.4, 1.6, -3.2, 9), "0 2 -3 9"), ((1, 2, 3, 4), "1 2 3 4")]
)
def test_boxes_are_whole_pixels(box: tuple, text: str) -> None:
    assert format_box(box) == text


def test_what_only_the_journal_needs_stays_out_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    row = ManifestRow(path="a.jpg", source="a", size_wh="9 9", points="1 2", hidden="01")
    journal = Journal(tmp_path / "j.csv")
    journal.add([row])
    journal.add([ManifestRow(source="last")])
    journal.close()
    again = Journal(tmp_path / "j.csv")
    again.close()
    assert again.done == {"a": [row]}
    write_manifest(tmp_path / "manifest.csv", [row])
    assert read_manifest(tmp_path / "manifest.csv") == [ManifestRow(path="a.jpg", source="a")]
