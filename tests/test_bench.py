"""The bench: ratios that hold on any machine, works that do what they say, a whole report."""

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces_fixtures import drawn_face

from MaskTheFace import bench as module
from MaskTheFace import stopwatch, workload
from MaskTheFace.bench import BenchConfig, main
from MaskTheFace.config import GenerateConfig
from MaskTheFace.images import read_image, write_image
from MaskTheFace.landmarks import find_landmarks, predictor_path
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.stopwatch import Work, measure

needs_dlib = pytest.mark.skipif(predictor_path() is None, reason="no 68-point model here")


class Clock:
    """A processor whose speed changes from second to second."""

    def __init__(self) -> None:
        self.now, self.log = 0.0, list[str]()

    def work(self, name: str, effort: float) -> Work:
        def run() -> None:
            self.log.append(name)
            self.now += effort * (1 + 0.01 * len(self.log))

        return Work(name, 10, run)


def test_ratios_hold_on_a_machine_that_gets_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(stopwatch.time, "process_time", lambda: clock.now)
    works = [clock.work("slow", 6.0), clock.work("fast", 2.0)]
    slow, fast, floor = measure(works, [clock.work("floor", 1.0)], rounds=4)
    assert clock.log[:5] == ["floor", "slow", "floor", "fast", "floor"] and len(clock.log) == 20
    assert np.allclose(slow.ratios, 6) and np.allclose(fast.ratios, 2)
    assert np.allclose(floor.ratios, 1) and (np.diff(floor.seconds) > 0).all()
    assert np.allclose(slow.rates, 1 / slow.seconds) and slow.seconds[0] < 0.7


def test_a_clock_that_does_not_tick_gives_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch.time, "process_time", lambda: 1.0)
    nothing = Work("nothing", 1, lambda: None)
    assert all(np.isfinite(one.ratios).all() for one in measure([nothing], [nothing], 2))


@pytest.mark.parametrize("side_px", [112, 250])
def test_stand_ins_cost_jpeg_what_photos_do_and_no_two_are_alike(side_px: int) -> None:
    faces = workload.standins(4, side_px)
    assert len({face.image.tobytes() for face in faces}) == 4
    for face, again in zip(faces, workload.standins(4, side_px)):
        assert face.image.shape == (side_px, side_px, 3)
        assert np.array_equal(face.image, again.image)
        size = len(cv2.imencode(".jpg", face.image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
        # Portraits at quality 95 take 0.25 to 0.6 bytes a pixel.
        assert 0.25 < size / side_px**2 < 0.6


@needs_dlib
def test_faces_are_found_where_stand_ins_have_them() -> None:
    for face in workload.standins(4, 250):
        (found,) = find_landmarks(face.image)
        error = np.linalg.norm(found.xy - face.landmarks.xy, axis=1).mean()
        assert error < 0.1 * face.landmarks.width_px


def test_layers_are_switched_off_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    styles: list = []
    real = overlay_mask
    monkeypatch.setattr(workload, "overlay_mask", lambda *a: styles.append(a[2]) or real(*a))
    full, works = workload.layer_works(workload.standins(2, 112))
    full.run()
    on = styles.copy()
    assert all(style.pattern and style.front and style.dirt and style.match for style in on)
    assert [work.name for work in works] == [f"without {name}" for name in workload.LAYERS]
    for work, change in zip(works, workload.LAYERS.values()):
        styles.clear()
        work.run()
        assert styles == [dataclasses.replace(style, **change) for style in on]
        assert all(one != other for one, other in zip(styles, on))


def test_works_on_files_leave_masked_files(tmp_path: Path) -> None:
    faces = workload.standins(2, 112)
    workload.write_photos(tmp_path / "in", faces, 3)
    settings = workload.random_masks(tmp_path / "in", tmp_path / "out", aligned=True)
    work, rows = workload.file_work("crops", settings)
    assert work.count == len(rows) == 3 and all(row.path for row in rows)
    shutil.rmtree(tmp_path / "out")
    work.run()
    for row in rows:
        before, after = read_image(tmp_path / "in" / row.source), tmp_path / "out" / row.path
        assert np.abs(read_image(after).astype(int) - before).max() > 50


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[GenerateConfig]:
    """Keep generate from being run: its processes have tests of their own."""
    seen: list[GenerateConfig] = []
    monkeypatch.setattr(module, "generate", seen.append)
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    return seen


def test_the_report_is_whole_and_written(
    tmp_path: Path, runs: list[GenerateConfig], capsys: pytest.CaptureFixture
) -> None:
    threads = cv2.getNumThreads()
    assert main(["--quick", "--output", str(tmp_path / "speed" / "bench.md")]) == 0
    shown = capsys.readouterr().out
    assert (tmp_path / "speed" / "bench.md").read_text(encoding="utf-8") == shown
    assert cv2.getNumThreads() == threads
    for part in (
        "4 drawn stand-in faces",
        "Quick: too few to tell",
        f"OpenCV {cv2.__version__}",
        "| JPEG decode + encode, 250 px |",
        "| warpPerspective + blend, 112 px |",
        "| 250 px, memory to memory, landmarks known |",
        "file to file: 4 of 4 masked",
        "| without folds and weave |",
        "| sample_style alone |",
        "Warm-up, not counted",
        "Two workers are",
    ):
        assert part in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("| 112 px, memory")]
    assert line.endswith("| 2,500 |  |")
    tables = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(tables) >= 20 and "nan" not in shown and "inf" not in shown
    assert [(run.workers, run.limit) for run in runs] == [(1, 20), (1, 40), (2, 20), (2, 40)]
    assert len({run.output for run in runs}) == 4


@needs_dlib
def test_photos_are_framed_around_their_faces(
    tmp_path: Path, runs: list[GenerateConfig], capsys: pytest.CaptureFixture
) -> None:
    for person in range(2):
        write_image(tmp_path / "in" / f"{person}.jpg", drawn_face(260, person)[0])
    write_image(tmp_path / "in" / "wall.png", np.full((99, 99, 3), 128, np.uint8))
    (tmp_path / "in" / "0.png").write_text("no picture")
    faces, seen = workload.photo_faces(tmp_path / "in", 5)
    assert len(faces) == 2 and seen == 4
    for side_px, least, most in ((112, 0.8, 1.0), (250, 0.4, 0.5)):
        x0, y0, x1, y1 = workload.framed(faces[0], side_px).landmarks.box_xyxy
        assert least < max(x1 - x0, y1 - y0) / side_px < most
        assert abs((x0 + x1) / 2 - side_px / 2) < 3
    assert main(["--quick", "--photos", str(tmp_path / "in")]) == 0
    shown = capsys.readouterr().out
    assert "2 faces from 4 photos" in shown and str(tmp_path) not in shown


def test_what_needs_dlib_is_said_to_be_missing_without_it(
    monkeypatch: pytest.MonkeyPatch, runs: list[GenerateConfig], tmp_path: Path
) -> None:
    monkeypatch.setattr("MaskTheFace.landmarks._predictor", lambda: None)
    report = module.bench(BenchConfig(quick=True))
    assert f"Not measured: {module.PHOTOS} (" in report and "landmarks: canonical" in report
    assert f"| {module.PHOTOS} |" not in report and f"| {module.CROPS} |" in report


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--photos", "nowhere"], "nowhere: no such folder"),
        pytest.param(["--photos", "empty"], "no face found in 0 photos", marks=needs_dlib),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_exit_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    flags: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["--quick", *flags]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error


@pytest.mark.parametrize(("name", "least"), [("images", 1), ("rounds", 1), ("worker_photos", 40)])
def test_too_little_to_measure_is_refused(name: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least {least}, got 0"):
        BenchConfig(**{name: 0})
