"""MaskTheFace: bare face in, masked face out; ``python -m MaskTheFace`` is the command."""

from typing import TYPE_CHECKING

from MaskTheFace.landmarks import Landmarks, aligned_landmarks, find_landmarks
from MaskTheFace.overlay import Covered, Masked, overlay_mask
from MaskTheFace.style import MaskStyle, sample_style
from MaskTheFace.templates import MaskTemplate, load_template

if TYPE_CHECKING:
    from MaskTheFace.transform import MaskedFace, MaskedImage, PutOnMask, mask_faces

__all__ = [
    "Covered",
    "Landmarks",
    "MaskStyle",
    "MaskTemplate",
    "Masked",
    "MaskedFace",
    "MaskedImage",
    "PutOnMask",
    "aligned_landmarks",
    "find_landmarks",
    "load_template",
    "mask_faces",
    "overlay_mask",
    "sample_style",
]
LATER = ("MaskedFace", "MaskedImage", "PutOnMask", "mask_faces")
"""Imported when asked for: they bring Pillow, which ``--help`` need not wait for."""


def __getattr__(name: str) -> object:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from MaskTheFace import transform

    return getattr(transform, name)
