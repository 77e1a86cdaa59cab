"""MaskTheFace: bare face in, masked face out; ``python -m MaskTheFace`` is the command."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from MaskTheFace.coverage import Covered
    from MaskTheFace.landmarks import Landmarks, aligned_landmarks, find_landmarks
    from MaskTheFace.overlay import Masked, overlay_mask
    from MaskTheFace.style import MaskStyle, sample_style
    from MaskTheFace.templates import MaskTemplate, load_template
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
HOMES = {
    "coverage": ("Covered",),
    "landmarks": ("Landmarks", "aligned_landmarks", "find_landmarks"),
    "overlay": ("Masked", "overlay_mask"),
    "style": ("MaskStyle", "sample_style"),
    "templates": ("MaskTemplate", "load_template"),
    "transform": ("MaskedFace", "MaskedImage", "PutOnMask", "mask_faces"),
}
"""Where each name lives. Imported when asked for: OpenCV alone takes longer than ``--help``."""


def __getattr__(name: str) -> object:
    for home, names in HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"MaskTheFace.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
