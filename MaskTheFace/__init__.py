"""MaskTheFace: bare face in, masked face out; ``python -m MaskTheFace`` is the command."""

from MaskTheFace.landmarks import Landmarks, aligned_landmarks, find_landmarks
from MaskTheFace.overlay import Covered, Masked, overlay_mask
from MaskTheFace.style import MaskStyle, sample_style
from MaskTheFace.templates import MaskTemplate, load_template

__all__ = [
    "Covered",
    "Landmarks",
    "MaskStyle",
    "MaskTemplate",
    "Masked",
    "aligned_landmarks",
    "find_landmarks",
    "load_template",
    "overlay_mask",
    "sample_style",
]
