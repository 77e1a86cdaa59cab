"""Masks for other pipelines: ``mask_faces`` for lists of images, ``PutOnMask`` for one at a time.

    from MaskTheFace import PutOnMask, mask_faces

    for done in mask_faces(images):  # (H, W, 3) uint8 RGB each; every face gets a mask
        print([face.wear for face in done.faces] or done.reason)

    put_on = PutOnMask(p=0.5, seed=1)

    class Faces(torch.utils.data.Dataset):
        def __getitem__(self, index):
            out = put_on(image=images[index], landmarks=points[index], index=index)
            return out["image"], out["mask"]

With ``index`` a result depends on seed, index and image alone, whatever the number of workers;
``index=(epoch, i)`` draws new masks in every epoch.

Convention: images are (H, W, 3) uint8 RGB, never written to; points are (x, y) pixels, 68 to a face
as in landmarks.py; boxes are x0, y0, x1, y1 pixels, as face detectors draw them: brows to chin.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np

from MaskTheFace.art import draw_view
from MaskTheFace.coverage import Covered
from MaskTheFace.landmarks import Landmarks, find_boxes, fit_landmarks
from MaskTheFace.overlay import overlay_mask
from MaskTheFace.patterns import PATTERNS
from MaskTheFace.style import MaskStyle, sample_style
from MaskTheFace.templates import TEMPLATES, MaskTemplate
from MaskTheFace.wear import ASKED, sample_wear, worn

Faces: TypeAlias = np.ndarray | Landmarks | Sequence[np.ndarray | Landmarks]
"""One face, (68, 2) or Landmarks, or several: (N, 68, 2) or a sequence."""
Templates: TypeAlias = Sequence[str] | Sequence[MaskTemplate]
"""Names of TEMPLATES, or one's own art (``art.read_art``), which keeps its own colours."""
LEAST_BOX_PX = 4


@dataclass(frozen=True)
class MaskedFace:
    """One face of an image.

    Attributes:
        landmarks: where it is.
        style: what it wears; None where it was left bare.
        covered: what the mask covers; None where it was left bare.
        reason: why it was left bare; empty where that was meant.
        wear: how the mask is worn, one of wear.WEARS; empty where none is to be seen.
    """

    landmarks: Landmarks
    style: MaskStyle | None = None
    covered: Covered | None = None
    reason: str = ""
    wear: str = ""


@dataclass(frozen=True)
class MaskedImage:
    """An image with masks on its faces.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32 in 0..1, how far fabric hides what is behind it.
        faces: as they were given; those that were found, largest first.
        reason: why there is no face in it; empty where there is one.
    """

    image: np.ndarray
    alpha: np.ndarray
    faces: tuple[MaskedFace, ...]
    reason: str = ""


@dataclass(frozen=True)
class Look:
    """What one face is to wear; ``template`` is art in place of ``style.template``."""

    style: MaskStyle
    template: MaskTemplate | None = None


def mask_faces(
    images: Sequence[np.ndarray],
    landmarks: Sequence[Faces | None] | None = None,
    boxes: Sequence[np.ndarray | None] | None = None,
    seed: int = 0,
    keys: Sequence[int] | None = None,
    styles: Sequence[MaskStyle] | None = None,
    templates: Templates = tuple(TEMPLATES),
    patterns: Sequence[str] = tuple(PATTERNS),
    wear: str = "correct",
) -> list[MaskedImage]:
    """Put a mask on every face of every image; how images are grouped in calls changes no result.

    Args:
        images: (H, W, 3) uint8 RGB each, of any sizes.
        landmarks: the faces of each image; None, for all or for one, looks for them.
        boxes: (4,) or (N, 4) face boxes of each image, to which dlib fits landmarks; where
            landmarks are given too, these are taken.
        seed: of all choices, with each image's key.
        keys: a number for each image, such as its place in the whole data set. By default its
            pixels are its key, so copies of an image get the same masks.
        styles: one for each image, for all its faces; drawn by ``sample_style`` unless given.
        templates: what to draw from.
        patterns: names of PATTERNS to draw from; empty for none.
        wear: how masks are worn, one of wear.ASKED; styles that are given keep their own.

    Returns:
        One MaskedImage for each image, in order. Where no face is found, ``faces`` is empty and
        ``reason`` says so; a face on which no mask can be drawn is in ``faces``, with its reason.

    Raises:
        ValueError: an image, landmarks or boxes of another shape; lists of different lengths; an
            unknown template or pattern.
        LandmarkError: dlib or its 68-point model is needed and missing.
    """
    wardrobe = _Wardrobe.of(templates, patterns, wear)
    _check_lengths(len(images), landmarks=landmarks, boxes=boxes, keys=keys, styles=styles)
    searches = [
        _Search.of(
            f"images[{place}]",
            image,
            None if landmarks is None else landmarks[place],
            None if boxes is None else boxes[place],
        )
        for place, image in enumerate(images)
    ]
    # Detector, 68-point model and drawing each want the processor's cache for themselves.
    for search in searches:
        search.find()
    for search in searches:
        search.fit()
    done = []
    for place, search in enumerate(searches):
        key = _key(search.image) if keys is None else keys[place]
        rng = np.random.default_rng([seed, key])
        style = None if styles is None else styles[place]
        looks = [wardrobe.draw(rng, face, style) for face in search.fit()]
        done.append(_put_on(search.image, search.fit(), looks, search.reason))
    return done


def _check_lengths(count: int, **lists: Sequence[Any] | None) -> None:
    for name, given in lists.items():
        if given is not None and len(given) != count:
            raise ValueError(f"{name} must be one for each of {count} images, got {len(given)}")


class PutOnMask:
    """A transform that puts masks on faces, called as albumentations' are: ``out = t(image=...)``.

    All chance is in ``get_params``, none in ``apply``. Calls with an ``index`` depend on nothing
    but their arguments and the seed. Calls without one draw from a stream: in the process that
    made the transform they repeat from run to run; each copy in another process (a DataLoader's
    worker, forked or spawned) has a stream of its own, so that no two workers draw the same masks.
    """

    def __init__(
        self,
        p: float = 1.0,
        seed: int | None = None,
        templates: Templates = tuple(TEMPLATES),
        patterns: Sequence[str] = tuple(PATTERNS),
        wear: str = "correct",
    ) -> None:
        """Say what to draw from.

        Args:
            p: chance that an image gets masks, 0 to 1.
            seed: of all choices; None for another one each time, to be read from ``seed``.
            templates: what to draw from.
            patterns: names of PATTERNS to draw from; empty for none.
            wear: how masks are worn, one of wear.ASKED.

        Raises:
            ValueError: a value out of range; an unknown template, pattern or way to wear it.
        """
        if not 0 <= p <= 1:
            raise ValueError(f"p must be between 0 and 1, got {p}")
        if seed is not None and seed < 0:
            raise ValueError(f"seed must be >= 0, got {seed}")
        self.p = p
        self.seed = secrets.randbits(32) if seed is None else seed
        self._wardrobe = _Wardrobe.of(templates, patterns, wear)
        self._home: int | None = os.getpid()
        self._stream: tuple[int, np.random.Generator] | None = None

    def __call__(
        self,
        *,
        image: np.ndarray,
        landmarks: Faces | None = None,
        boxes: np.ndarray | None = None,
        index: int | Sequence[int] | None = None,
        **others: Any,
    ) -> dict[str, Any]:
        """Put a mask on every face of an image, or (chance 1 - p) leave it as it is.

        Args:
            image: (H, W, 3) uint8 RGB.
            landmarks: its faces; None looks for them. They are looked for in images that stay
                bare too: both kinds are told about alike.
            boxes: (4,) or (N, 4), to which dlib fits landmarks where none are given.
            index: what this call's choices hang on, with the seed: a number, or (epoch, number).
            others: handed through, such as a label.

        Returns:
            The arguments but ``index``, with ``image`` (H, W, 3) uint8 RGB; ``mask`` (H, W)
            float32, alpha of the fabric, 0..1; and for N faces ``landmarks`` (N, 68, 2) float32;
            ``boxes`` (N, 4) float32, the smallest around the points; ``covered`` (N, 3) float32,
            nose, mouth and chin, 0 on bare faces; ``wear``, N times one of wear.WEARS or ""
            for bare; ``styles``, N times the MaskStyle as JSON or "". ``reason`` says why
            there is no face, or why a face was left bare.

        Raises:
            ValueError: an image, landmarks or boxes of another shape.
            LandmarkError: dlib or its 68-point model is needed and missing.
        """
        search = _Search.of("image", image, landmarks, boxes)
        search.find()
        looks = self.get_params(search.fit(), index)
        done = self.apply(image, search.fit(), looks)
        faces = done.faces
        covered = [face.covered or Covered(0, 0, 0) for face in faces]
        reasons = dict.fromkeys([search.reason, *(face.reason for face in faces)])
        return others | {
            "image": done.image,
            "mask": done.alpha,
            "landmarks": _stack([face.landmarks.xy for face in faces], (68, 2)),
            "boxes": _stack([face.landmarks.box_xyxy for face in faces], (4,)),
            "covered": _stack([dataclasses.astuple(shares) for shares in covered], (3,)),
            "wear": [face.wear for face in faces],
            "styles": [face.style.to_json() if face.style else "" for face in faces],
            "reason": "; ".join(filter(None, reasons)),
        }

    def get_params(
        self, faces: Sequence[Landmarks], index: int | Sequence[int] | None = None
    ) -> list[Look]:
        """Throw the dice of one call: what each face wears; empty where all stay bare."""
        rng = self._rng(index)
        if rng.random() >= self.p:
            return []
        return [self._wardrobe.draw(rng, face) for face in faces]

    def apply(
        self, image: np.ndarray, faces: Sequence[Landmarks], looks: Sequence[Look]
    ) -> MaskedImage:
        """Put on what was drawn: the same pixels for the same arguments.

        Args:
            image: (H, W, 3) uint8 RGB.
            faces: its faces.
            looks: one for each face, or none at all.
        """
        return _put_on(image, faces, looks)

    def _rng(self, index: int | Sequence[int] | None) -> np.random.Generator:
        if index is not None:
            parts = [int(part) for part in np.atleast_1d(index)]
            if min(parts, default=0) < 0:
                raise ValueError(f"index must be >= 0, got {index}")
            # The count at the end, because (3,) and (3, 0) are one to NumPy.
            return np.random.default_rng([self.seed, *parts, 1 + len(parts)])
        here = os.getpid()
        if self._stream is None or self._stream[0] != here:
            own = [] if here == self._home else [secrets.randbits(64)]
            self._stream = here, np.random.default_rng([self.seed, *own])
        return self._stream[1]

    def __getstate__(self) -> dict[str, Any]:
        # A copy has no stream of its own yet: two of one state would draw the same masks.
        return vars(self) | {"_home": None, "_stream": None}


@dataclass(frozen=True)
class _Wardrobe:
    """What masks are drawn from."""

    names: tuple[str, ...]
    art: tuple[MaskTemplate, ...]
    patterns: tuple[str, ...]
    wear: str

    @classmethod
    def of(cls, templates: Templates, patterns: Sequence[str], wear: str) -> _Wardrobe:
        if wear not in ASKED:
            raise ValueError(f"unknown way to wear a mask {wear!r}; have {', '.join(ASKED)}")
        if isinstance(templates, str) or not len(templates):
            raise ValueError(f"templates must be one or more of {', '.join(TEMPLATES)}, or art")
        names = tuple(item for item in templates if isinstance(item, str))
        art = tuple(item for item in templates if isinstance(item, MaskTemplate))
        if len(names) != len(templates) and len(art) != len(templates):
            raise ValueError("templates must be all names, or all MaskTemplates")
        for kind, asked, known in (
            ("template", names, tuple(TEMPLATES)),
            ("pattern", patterns, tuple(PATTERNS)),
        ):
            for name in asked:
                if name not in known:
                    raise ValueError(f"unknown {kind} {name!r}; have {', '.join(known)}")
        return cls(names or tuple(TEMPLATES), art, tuple(patterns), wear)

    def draw(
        self, rng: np.random.Generator, face: Landmarks, style: MaskStyle | None = None
    ) -> Look:
        if style is None:
            style = sample_style(rng, self.names, self.patterns)
            if self.wear != "correct":
                style = worn(style, sample_wear(rng, style.template, self.wear), rng)
            if self.art:
                style = dataclasses.replace(style, color=None, pattern=None, trim=None)
        if not self.art:
            return Look(style)
        template = draw_view(self.art, face, rng)
        return Look(dataclasses.replace(style, template=template.name), template)


@dataclass
class _Search:
    """An image whose faces are found, then fitted, then known."""

    image: np.ndarray
    boxes: Sequence[np.ndarray] | None = None
    faces: list[Landmarks] | None = None
    reason: str = ""

    @classmethod
    def of(
        cls, name: str, image: np.ndarray, landmarks: Faces | None, boxes: np.ndarray | None
    ) -> _Search:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"{name} must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
        try:
            if landmarks is not None:
                faces = _as_faces(landmarks)
                return cls(image, None, faces, "" if faces else "no landmarks given for it")
            if boxes is not None:
                found = _as_boxes(boxes)
                return cls(image, found, None, "" if found else "no boxes given for it")
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        return cls(image)

    def find(self) -> None:
        if self.faces is None and self.boxes is None:
            boxes = find_boxes(self.image)
            self.reason = "" if boxes else "no face found; give landmarks or boxes"
            self.boxes = sorted(boxes, key=lambda box: box[0] - box[2])

    def fit(self) -> list[Landmarks]:
        if self.faces is None:
            # One by one: a box of the caller's stays with its face.
            self.faces = [
                face for box in self.boxes or () for face in fit_landmarks(self.image, [box])
            ]
        return self.faces


def _as_faces(given: Faces) -> list[Landmarks]:
    if isinstance(given, Landmarks):
        return [given]
    if isinstance(given, np.ndarray) and given.ndim == 2:
        given = [given]
    # Copied, because Landmarks locks the array it holds.
    return [
        face if isinstance(face, Landmarks) else Landmarks(np.array(face, np.float32))
        for face in given
    ]


def _as_boxes(given: np.ndarray) -> list[np.ndarray]:
    boxes = np.asarray(given, np.float64)
    if boxes.size == 0:
        return []
    boxes = np.atleast_2d(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(f"boxes must be (N, 4) finite x0, y0, x1, y1, got shape {boxes.shape}")
    for box in boxes:
        if (box[2:] - box[:2]).min() < LEAST_BOX_PX:
            raise ValueError(
                f"a box is x0, y0, x1, y1 of at least {LEAST_BOX_PX} px a side, got {box.tolist()}"
            )
    return list(boxes)


def _key(image: np.ndarray) -> int:
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return int.from_bytes(digest.digest()[:8], "big")


def _put_on(
    image: np.ndarray, faces: Sequence[Landmarks], looks: Sequence[Look], reason: str = ""
) -> MaskedImage:
    if not looks:
        bare = tuple(MaskedFace(face) for face in faces)
        return MaskedImage(image.copy(), np.zeros(image.shape[:2], np.float32), bare, reason)
    out, alpha, done = image, None, []
    for face, look in zip(faces, looks, strict=True):
        try:
            masked = overlay_mask(out, face, look.style, template=look.template)
            if not masked.changed.any():
                raise ValueError("the landmarks lie outside the image; give them in its own pixels")
        except (ValueError, cv2.error) as error:
            done.append(MaskedFace(face, reason=str(error)))
            continue
        done.append(MaskedFace(face, look.style, masked.covered, wear=masked.wear))
        out = masked.image
        alpha = masked.alpha if alpha is None else 1 - (1 - alpha) * (1 - masked.alpha)
    if alpha is None:
        out, alpha = image.copy(), np.zeros(image.shape[:2], np.float32)
    return MaskedImage(out, alpha, tuple(done), reason)


def _stack(rows: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(len(rows), *shape)
