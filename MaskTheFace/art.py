"""A user's own mask art: a PNG with its anchors beside it, or the original tool's ``masks.cfg``.

``python -m MaskTheFace.art PATH --contact-sheet sheet.png`` checks art and shows it on faces.
Beside ``mymask.png``, which is transparent around the mask, lies ``mymask.json``:

    {"name": "mymask",
     "anchors": {"nose": [307, 22], "left_top": [21, 97], "right_top": [600, 99],
                 "left_bottom": [25, 322], "chin": [295, 470], "right_bottom": [600, 323]}}

``name`` may be left out. Anchors say which pixel of the art belongs where on a face: four or more
names of PLACES, or rows [x, y, u, v] with points of the face chart (geometry.py). ``name_left`` and
``name_right`` are views of ``name`` for faces that look to the left or right of the picture.

Convention: (x, y) pixels from the top-left corner; left is the left of the picture, not the
wearer's.
"""

from __future__ import annotations

import configparser
import hashlib
import itertools
import json
import math
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from MaskTheFace.commands import run_command
from MaskTheFace.geometry import turn_of
from MaskTheFace.landmarks import Landmarks
from MaskTheFace.templates import SPECIAL, TEMPLATES, MaskTemplate

PLACES: dict[str, tuple[float, float]] = {
    "nose": (0.0, 0.02),  # ridge of the nose, where a mask's upper edge lies
    "nose_tip": (0.0, 0.25),
    "mouth": (0.0, 0.59),  # between the lips
    "chin": (0.0, 1.0),  # the chin's lower edge
    "under_chin": (0.0, 1.2),
    "left_top": (-1.0, 0.22),  # edge of the face, at the height of the nose's tip
    "right_top": (1.0, 0.22),
    "left_middle": (-1.0, 0.5),  # edge of the face, at the height of the upper lip
    "right_middle": (1.0, 0.5),
    "left_bottom": (-1.0, 0.85),  # edge of the jaw, at the height of the lower lip
    "right_bottom": (1.0, 0.85),
    "left_ear": (-1.2, 0.1),  # where ear loops end
    "right_ear": (1.2, 0.1),
}
"""Places of a face by name, as (u, v) on the face chart."""

CFG_PLACES = {
    "mask_a": "left_top",
    "mask_b": "nose",
    "mask_c": "right_top",
    "mask_d": "left_bottom",
    "mask_e": "chin",
    "mask_f": "right_bottom",
}
"""The six points of ``masks.cfg``. The original tool puts a and c where the jaw meets the line of
the eyes moved down to the nose's tip, d and f where it meets that line moved to the lower lip, b
halfway between landmarks 27 and 30, e on the chin. Source: aqeelanwar/MaskTheFace, get_six_points.
"""
BARE_SECTIONS = ("empty", "inpaint")
"""Sections of ``masks.cfg`` that stand for no art."""

LEAST_ANCHORS, MOST_ANCHORS = 4, 100
SIDE_RANGE_PX = (16, 4096)
OUTSIDE = 0.2
"""Anchors may lie outside of the picture by this share of its longer side: where art shows one side
of a mask, the original's own ``masks.cfg`` has points up to 12 % outside."""
U_LIMIT, V_RANGE = 1.6, (-1.0, 1.8)
"""Chart points beyond these are far off any face."""
THIN = 0.05
"""Points that spread less than this share of their length across it are on one line."""
TURNED = 0.4
"""From this sine of its turn, about 24 degrees, a face looks to the side."""


class ArtError(ValueError):
    """Mask art that cannot be used; the message names the file and what to do."""


@dataclass(frozen=True)
class Anchor:
    """One point of the art, and where it belongs: (x, y) pixels, (u, v) on the face chart."""

    label: str
    xy: tuple[float, float]
    uv: tuple[float, float]


def read_art(path: Path | str) -> list[MaskTemplate]:
    """Read a user's own mask art.

    Args:
        path: a PNG (or the JSON file beside it), a file in the layout of the original tool's
            ``masks.cfg``, or a folder: all PNGs with a JSON file beside them and all ``.cfg`` files
            directly in it. Opaque PNGs without anchors are no art and passed over.

    Returns:
        One template or more, no two of one name.

    Raises:
        ArtError: missing or unreadable files; art without transparency, or nothing but; anchors
            that are missing, unknown, no numbers, outside of the picture, on one line or mirrored.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        art = _read_folder(path)
    elif suffix == ".cfg":
        art = [_read_section(path, *section) for section in _sections(path).items()]
    elif suffix in (".png", ".json"):
        art = [_read_pair(path if suffix == ".png" else path.with_suffix(".png"))]
    elif path.exists():
        raise ArtError(f"{path}: mask art is a .png with a .json beside it, a .cfg, or a folder")
    else:
        raise ArtError(f"{path}: no such file or folder; check the path")
    if not art:
        raise ArtError(f"{path}: no mask art in it; put mymask.png and mymask.json there")
    _check_names(path, art)
    return art


def for_face(art: Sequence[MaskTemplate], landmarks: Landmarks) -> list[MaskTemplate]:
    """Keep, of art with several views, the one view that suits a face.

    Args:
        art: templates; ``name``, ``name_left`` and ``name_right`` are views of one mask.
        landmarks: one face.

    Returns:
        One template for each mask; a missing view is replaced by the frontal or any other.
    """
    turn = turn_of(landmarks)
    view = "_left" if turn < -TURNED else "_right" if turn > TURNED else ""
    masks: dict[str, dict[str, MaskTemplate]] = {}
    for template in art:
        base = re.sub(r"_(left|right)$", "", template.name)
        masks.setdefault(base, {})[template.name.removeprefix(base)] = template
    return [
        views.get(view) or views.get("") or next(iter(views.values())) for views in masks.values()
    ]


def draw_view(
    art: Sequence[MaskTemplate], landmarks: Landmarks, rng: np.random.Generator
) -> MaskTemplate:
    """Draw one mask of art, each as likely as another, in the view that suits a face."""
    views = for_face(art, landmarks)
    return views[int(rng.random() * len(views))]


def fingerprint(art: Sequence[MaskTemplate]) -> str:
    """Name art by what it holds: names, pixels and anchors."""
    digest = hashlib.sha256()
    for template in art:
        digest.update(f"{template.name} {template.rgba.shape}".encode())
        for part in (template.rgba, template.anchors_xy, template.anchors_uv):
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()[:12]


def art_pictures(path: Path) -> set[Path]:
    """Return the pictures, resolved, that ``read_art`` reads from a path: they are no photos."""
    path = Path(path)
    if path.suffix.lower() == ".cfg":
        sections = _sections(path).items()
        return {_art_file(path, name, part["template"]).resolve() for name, part in sections}
    if not path.is_dir():
        return {path.with_suffix(".png").resolve()}
    files = [file for file in path.iterdir() if file.is_file()]
    own = {file.with_suffix(".png").resolve() for file in files if file.suffix == ".json"}
    for cfg in (file for file in files if file.suffix.lower() == ".cfg"):
        own |= art_pictures(cfg)
    return own


def _read_folder(folder: Path) -> list[MaskTemplate]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    art: list[MaskTemplate] = []
    named: set[Path] = set()
    for cfg in (path for path in files if path.suffix.lower() == ".cfg"):
        for name, section in _sections(cfg).items():
            art.append(_read_section(cfg, name, section))
            named.add(_art_file(cfg, name, section["template"]).resolve())
    for png in (path for path in files if path.suffix.lower() == ".png"):
        if png.with_suffix(".json").is_file():
            art.append(_read_pair(png))
        elif png.resolve() not in named and _is_transparent(png):
            raise ArtError(
                f"{png}: has no anchors; write {png.stem}.json beside it, or move it elsewhere"
            )
    return art


def _check_names(path: Path, art: Sequence[MaskTemplate]) -> None:
    seen: set[str] = set()
    for name in (template.name for template in art):
        if not name.strip() or re.search(r'[/\\:*?"<>|\x00-\x1f]', name):
            raise ArtError(f'{path}: a name is not empty and has no / \\ : * ? " < > |: {name!r}')
        if name in TEMPLATES or name in SPECIAL:
            raise ArtError(f"{path}: {name!r} is the name of a built-in mask; choose another")
        if name in seen:
            raise ArtError(f"{path}: two masks are named {name!r}; give one another name")
        seen.add(name)


# A PNG and its JSON file.


def _read_pair(png: Path) -> MaskTemplate:
    rgba = _read_rgba(png)
    path = png.with_suffix(".json")
    layout = _read_json(path)
    unknown = sorted(set(layout) - {"name", "anchors"})
    if unknown:
        raise ArtError(f"{path}: unknown key {unknown[0]!r}; it holds 'name' and 'anchors'")
    name = layout.get("name", png.stem)
    if not isinstance(name, str):
        raise ArtError(f"{path}: name must be text in quotes, got {name!r}")
    anchors = _json_anchors(path, layout.get("anchors"))
    return _template(str(path), name, rgba, anchors)


def _read_json(path: Path) -> dict[str, object]:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise ArtError(f"{path}: {key!r} is there twice; keep one")
        return dict(pairs)

    try:
        layout = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=once)
    except ArtError:
        raise
    except FileNotFoundError:
        raise ArtError(
            f"{path}: no such file; write the anchors of {path.stem}.png there"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtError(f"{path}: cannot be read as JSON ({error}); mend it") from None
    if not isinstance(layout, dict):
        raise ArtError(f'{path}: must look like {{"anchors": {{"nose": [x, y], ...}}}}')
    return layout


def _json_anchors(path: Path, anchors: object) -> list[Anchor]:
    """Return the anchors of a JSON file: places by name, or rows x, y, u, v."""
    found = []
    if isinstance(anchors, dict):
        for name, value in anchors.items():
            if name not in PLACES:
                raise ArtError(f"{path}: unknown anchor {name!r}; have {', '.join(PLACES)}")
            x, y = _numbers(f"{path}: anchor {name}", value, ("x", "y"))
            found.append(Anchor(name, (x, y), PLACES[name]))
    elif isinstance(anchors, list):
        for row, value in enumerate(anchors, start=1):
            x, y, u, v = _numbers(f"{path}: anchor {row}", value, ("x", "y", "u", "v"))
            if abs(u) > U_LIMIT or not V_RANGE[0] <= v <= V_RANGE[1]:
                raise ArtError(
                    f"{path}: anchor {row}: u, v = {u:g}, {v:g} is off the face; u runs from -1 to "
                    "1 across it, v from 0 (ridge of the nose) to 1 (chin)"
                )
            found.append(Anchor(f"{row}", (x, y), (u, v)))
    else:
        raise ArtError(f'{path}: "anchors" is missing; write places and pixels, "nose": [x, y], ..')
    return found


def _numbers(what: str, value: object, names: Sequence[str]) -> list[float]:
    form = f"[{', '.join(names)}]"
    if not isinstance(value, list) or len(value) != len(names):
        raise ArtError(f"{what} must be {form}, got {value!r}")
    for part in value:
        if isinstance(part, bool) or not isinstance(part, int | float) or not abs(part) < 1e9:
            raise ArtError(f"{what} must be numbers {form}, got {part!r}")
    return [float(part) for part in value]


# The original tool's masks.cfg.


def _sections(path: Path) -> dict[str, dict[str, str]]:
    """Return the sections of a cfg file that stand for art, by name."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"), source=path.name)
    except FileNotFoundError:
        raise ArtError(f"{path}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        detail = " ".join(str(error).split())
        raise ArtError(f"{path}: cannot be read as a cfg file ({detail}); mend it") from None
    found = {}
    for name in parser.sections():
        section = dict(parser[name])
        if section or re.sub(r"_(left|right)$", "", name) not in BARE_SECTIONS:
            _check_keys(f"{path}: [{name}]", section)
            found[name] = section
    return found


def _check_keys(where: str, section: dict[str, str]) -> None:
    wanted = ["template", *CFG_PLACES]
    missing = [key for key in wanted if not section.get(key)]
    if missing:
        raise ArtError(f"{where} lacks {', '.join(missing)}; add {missing[0]}: ...")
    unknown = sorted(set(section) - set(wanted))
    if unknown:
        raise ArtError(f"{where}: unknown key {unknown[0]!r}; have {', '.join(wanted)}")


def _read_section(path: Path, name: str, section: dict[str, str]) -> MaskTemplate:
    where = f"{path}: [{name}]"
    anchors = []
    for key, place in CFG_PLACES.items():
        try:
            parts: list[object] = [float(part) for part in section[key].split(",")]
        except ValueError:
            raise ArtError(f"{where} {key} must be x, y; got {section[key]!r}") from None
        x, y = _numbers(f"{where} {key}", parts, ("x", "y"))
        anchors.append(Anchor(key, (x, y), PLACES[place]))
    return _template(where, name, _read_rgba(_art_file(path, name, section["template"])), anchors)


def _art_file(cfg: Path, name: str, template: str) -> Path:
    """Find a template from the folder of its cfg file, or as the original does, one above."""
    relative = template.strip("\"'").replace("\\", "/")
    folder = cfg.resolve().parent
    for root in (folder, folder.parent):
        if (root / relative).is_file():
            return root / relative
    raise ArtError(f"{cfg}: [{name}] template {template}: no such file in {folder} or above it")


# What every kind of art must keep to.


def _read_rgba(path: Path) -> np.ndarray:
    """Return a PNG as (h, w, 4) uint8 RGBA, straight alpha; palette, grey and 16-bit ones too."""
    if not path.is_file():
        raise ArtError(f"{path}: no such file; check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("PNG",)) as opened:
                _check_picture(path, opened)
                # Of 16-bit RGBA, Pillow takes the upper bytes.
                rgba = np.array(ImageOps.exif_transpose(opened).convert("RGBA"))
    except ArtError:
        raise
    except Exception as error:  # decoders raise whatever a broken file makes them meet
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtError(f"{path}: cannot be read as PNG ({detail}); export it again") from None
    alpha = rgba[..., 3]
    if alpha.max() < 128:
        raise ArtError(f"{path}: is (nearly) transparent everywhere; there is no mask to be seen")
    if alpha.min() > 127:
        raise ArtError(f"{path}: is opaque everywhere; make what is around the mask transparent")
    return rgba


def _check_picture(path: Path, opened: Image.Image) -> None:
    """Refuse, before anything is decoded, what gives no good art."""
    width_px, height_px = opened.size
    least, most = SIDE_RANGE_PX
    if min(opened.size) < least or max(opened.size) > most:
        raise ArtError(
            f"{path}: {width_px}x{height_px} px; a side of {least} to {most} px is wanted"
        )
    if not _has_alpha(opened):
        raise ArtError(
            f"{path}: has no alpha channel; cut the mask out, export as PNG with transparency"
        )
    if opened.mode.startswith("I"):
        raise ArtError(f"{path}: 16-bit grey with one clear shade; export it as 8-bit RGBA")


def _has_alpha(opened: Image.Image) -> bool:
    return "A" in opened.getbands() or "transparency" in opened.info


def _is_transparent(path: Path) -> bool:
    try:
        with Image.open(path, formats=("PNG",)) as opened:
            return _has_alpha(opened)
    except Exception as error:
        raise ArtError(f"{path}: cannot be read as PNG ({error}); remove it") from None


def _template(where: str, name: str, rgba: np.ndarray, anchors: Sequence[Anchor]) -> MaskTemplate:
    """Check the anchors against the art and each other, and put them together."""
    if not LEAST_ANCHORS <= len(anchors) <= MOST_ANCHORS:
        raise ArtError(
            f"{where}: {len(anchors)} anchors; give {LEAST_ANCHORS} or more (at most "
            f"{MOST_ANCHORS}), such as nose, chin, left_top, right_top"
        )
    height, width = rgba.shape[:2]
    slack = OUTSIDE * max(width, height)
    for anchor in anchors:
        x, y = anchor.xy
        if not (-slack <= x <= width - 1 + slack and -slack <= y <= height - 1 + slack):
            raise ArtError(
                f"{where}: {anchor.label} at ({x:g}, {y:g}) is outside of the picture, "
                f"{width}x{height} px; give pixels from its top-left corner"
            )
    _check_order(where, anchors)
    xy = np.array([anchor.xy for anchor in anchors], np.float32)
    uv = np.array([anchor.uv for anchor in anchors], np.float32)
    if _on_one_line(xy) or _on_one_line(uv):
        raise ArtError(f"{where}: the anchors lie on one line; add one beside it")
    return MaskTemplate(name, rgba, xy, uv)


def _on_one_line(points: np.ndarray) -> bool:
    length, across = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(across < THIN * length)


SIDES = (("left of", "right of"), ("above", "below"))


def _check_order(where: str, anchors: Sequence[Anchor]) -> None:
    """Refuse mirrored art: what is left of another point on the face must be so in the picture."""
    for first, second in itertools.combinations(anchors, 2):
        if math.dist(first.uv, second.uv) < 0.01 or math.dist(first.xy, second.xy) < 0.5:
            raise ArtError(f"{where}: {first.label} and {second.label} lie on one spot; drop one")
    for first, second in itertools.permutations(anchors, 2):
        for axis, (before, after) in enumerate(SIDES):
            step = second.uv[axis] - first.uv[axis]
            aside = abs(second.uv[1 - axis] - first.uv[1 - axis])
            if step >= max(0.2, 2 * aside) and second.xy[axis] <= first.xy[axis]:
                raise ArtError(
                    f"{where}: {first.label} belongs {before} {second.label}, but lies {after} it: "
                    "exchanged, or mirrored art? Left is the left of the picture"
                )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 where art cannot be used or leaves nose or mouth bare."""
    return run_command("MaskTheFace.art", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    import tyro

    from MaskTheFace.fitting import FittingConfig, try_all

    config = tyro.cli(
        FittingConfig,
        args=argv,
        prog="python -m MaskTheFace.art",
        config=(tyro.conf.PositionalRequiredArgs,),
    )
    return 1 if try_all(config) else 0


if __name__ == "__main__":
    sys.exit(main())
