"""What the command ``python -m MaskTheFace`` can be asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from MaskTheFace.coverage import Wear
from MaskTheFace.manifest import MANIFEST
from MaskTheFace.patterns import PATTERNS
from MaskTheFace.style import parse_color
from MaskTheFace.templates import SPECIAL, TEMPLATES, TYPES

Kind = Literal["surgical", "N95", "KN95", "cloth", "gas", "empty", "inpaint", "random", "all"]

OLD_NAMES = {"surgical_blue": ("surgical", "#6fa8d6"), "surgical_green": ("surgical", "#7fc4ae")}
"""Types that codes written for the original tool may name: type and colour."""
OWN_ART = "art"
"""What pictures of one's own masks are named after."""
NO_RESULT = ("workers", "verbose", "limit", "manifest", "contact_sheet", "dry_run")
"""Settings that change no picture: an interrupted run goes on whatever they are."""


@dataclass(frozen=True)
class GenerateConfig:
    """Draw masks on photos of bare faces."""

    path: Path
    """A photo, or a folder of photos with all its sub-folders."""
    output: Path | None = None
    """Folder to write; by default <path>_masked beside the input."""
    mask_type: Kind = "surgical"
    """Which mask; random: another one for each face; all: one picture of each type."""
    art: Path | None = None
    """Masks of your own in place of a type: a PNG with its anchors, a masks.cfg, or a folder of
    these (python -m MaskTheFace.art checks them). Each face gets one, in the view that suits it."""
    color: str | None = None
    """Colour of the fabric, #rrggbb, or random for what people wear. Off unless given."""
    color_weight: float = 0.5
    """How far the colour replaces the mask's own, 0 to 1."""
    pattern: str | None = None
    """A picture file to print on the fabric, or the name of a built-in pattern."""
    pattern_weight: float = 0.5
    """How solid the print is, 0 to 1."""
    wear: Wear | Literal["wrong", "random"] = "correct"
    """How masks are worn. wrong: one of the wrong ways for each face; random: half of them right.
    What came out is read off the picture: the manifest's columns wear and label."""
    code: str | None = None
    """Comma list of masks, one drawn for each photo: type, type-#rrggbb or type-patternfile."""
    aligned: Literal["auto", "yes", "no"] = "auto"
    """yes: photos are tight crops of one face, nothing is detected; no: faces are found; auto:
    found, and looked for again, less strictly, where one would fill a tight crop."""
    landmarks: Path | None = None
    """CSV of your own points, one face a row: file,x0,y0,...,x67,y67; nothing is detected."""
    limit: int | None = None
    """Only the first so many photos, in sorted order."""
    write_original_image: bool = False
    """Also write the bare photo, by the same encoder, into original/."""
    write_alpha: bool = False
    """Also write what the fabric covers, a grey PNG for each picture, into alpha/."""
    write_landmarks: bool = False
    """Also write landmarks.csv, the points of every face, as --landmarks reads it."""
    annotations: tuple[Literal["yolo", "coco"], ...] = ()
    """Also write boxes and classes of every face: yolo (pictures go to images/, boxes to labels/)
    and coco (annotations.json, with the 68 points)."""
    manifest: Path | None = None
    """The CSV that lists every photo; by default manifest.csv in the output folder."""
    contact_sheet: Path | None = None
    """Also write one picture, .jpg or .png, of up to 24 results: bare beside masked."""
    seed: int = 0
    """Seed of every choice."""
    quality: int = 95
    """JPEG quality, 1 to 100."""
    workers: int = 0
    """Processes; 0: one for each core. Never changes a result."""
    verbose: bool = False
    """Print a line for each photo."""
    dry_run: bool = False
    """Say what would be done, and write nothing."""

    def __post_init__(self) -> None:
        for name in ("color_weight", "pattern_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be between 1 and 100, got {self.quality}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit}")
        for name in ("seed", "workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        sheet = self.contact_sheet
        if sheet is not None and sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            raise ValueError(f"contact_sheet must end in .jpg or .png, got {sheet}")
        if self.color not in (None, "random"):
            parse_color(str(self.color))
        if self.pattern:
            _check_pattern(self.pattern)
        if self.art is not None and (self.codes or self.mask_type != "surgical"):
            raise ValueError("art takes the place of mask_type and code; give it alone")
        if self.wear != "correct" and (self.mask_type in SPECIAL or set(self.codes) & set(SPECIAL)):
            raise ValueError(f"wear is for masks; {' and '.join(SPECIAL)} are only worn correctly")
        for code in self.codes:
            parse_code(code)

    @property
    def codes(self) -> list[str]:
        """The parts of ``code``."""
        return [part.strip() for part in (self.code or "").split(",") if part.strip()]

    @property
    def output_folder(self) -> Path:
        """Where the results go."""
        if self.output is not None:
            return self.output
        # "." and ".." have no name of their own.
        path = self.path.resolve() if self.path.name in ("", "..") else self.path
        base = path if path.is_dir() else path.with_suffix("")
        return base.with_name(f"{base.name}_masked")

    @property
    def manifest_path(self) -> Path:
        """Where the manifest goes."""
        return self.manifest or self.output_folder / MANIFEST

    @property
    def keeps_points(self) -> bool:
        """Whether the points of each face are needed once its picture is written."""
        return self.write_landmarks or bool(self.annotations)

    def digest(self) -> str:
        """Name the settings that decide the result: only a journal of the same ones may go on."""
        values = dataclasses.asdict(self)
        text = {name: str(value) for name, value in values.items() if name not in NO_RESULT}
        # Files may change between two runs; their names do not say so.
        patterns = [self.pattern or None, *(parse_code(code).pattern for code in self.codes)]
        prints = map(_print_file, patterns)
        for path in (self.landmarks, *prints):
            if path is not None and Path(path).is_file():
                text[str(path)] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return hashlib.sha256(json.dumps(text, sort_keys=True).encode()).hexdigest()[:12]

    def wanted(self, rng: np.random.Generator) -> list[Wanted]:
        """Return the masks that one photo gets, a picture each."""
        if self.codes:
            return [parse_code(str(rng.choice(self.codes)))]
        if self.art is not None:
            return [Wanted(OWN_ART, self.color, self.pattern or None)]
        kinds = list(TYPES) if self.mask_type == "all" else [self.mask_type]
        return [Wanted(kind, self.color, self.pattern or None) for kind in kinds]


@dataclass(frozen=True)
class Wanted:
    """One mask asked for: a type or template, and what to dye or print it with."""

    kind: str
    color: str | None = None
    pattern: str | None = None

    @property
    def templates(self) -> tuple[str, ...]:
        """The templates to draw one from; own art is worn as any of them is."""
        if self.kind in ("random", OWN_ART):
            return tuple(TEMPLATES)
        return TYPES.get(self.kind, (self.kind,))

    @property
    def print_file(self) -> str | None:
        """The picture to print, where ``pattern`` names no drawn one."""
        return _print_file(self.pattern)


def _print_file(pattern: str | None) -> str | None:
    return None if pattern in (None, *PATTERNS, "random") else pattern


def parse_code(code: str) -> Wanted:
    """Read ``type``, ``type-#rrggbb`` or ``type-patternfile``; a template's name is a type too.

    Raises:
        ValueError: an unknown type, a bad colour, or a pattern that is not there.
    """
    kind, _, extra = code.partition("-")
    kind, color = OLD_NAMES.get(kind, (kind, None))
    if kind not in (*TYPES, *TEMPLATES, *SPECIAL, "random"):
        known = ", ".join([*TYPES, *SPECIAL, "random"])
        raise ValueError(f"--code {code!r}: unknown mask type {kind!r}; have {known}")
    if not extra:
        return Wanted(kind, color)
    if extra.startswith("#"):
        parse_color(extra)
        return Wanted(kind, color=extra)
    _check_pattern(extra)
    return Wanted(kind, color, extra)


def _check_pattern(pattern: str) -> None:
    if pattern not in PATTERNS and pattern != "random" and not Path(pattern).is_file():
        known = ", ".join([*PATTERNS, "random"])
        raise ValueError(f"pattern {pattern!r} is neither a file nor one of {known}")
