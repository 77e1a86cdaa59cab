"""What is fixed about the 68 points: which mirrors which, the mean layout, their names.

Convention: the order of the iBUG 300-W mark-up, as in landmarks.py.
"""

from __future__ import annotations

import numpy as np

MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)
"""Point i of a face is point MIRROR[i] of its mirror image."""

CANONICAL = (
    np.array(
        [
            (72, 309),
            (75, 421),
            (87, 534),
            (106, 645),
            (145, 750),
            (210, 841),
            (293, 915),
            (389, 971),
            (500, 985),
            (611, 971),
            (707, 915),
            (790, 841),
            (855, 750),
            (894, 645),
            (913, 534),
            (925, 421),
            (928, 309),
            (146, 218),
            (200, 169),
            (276, 155),
            (354, 166),
            (428, 196),
            (572, 196),
            (646, 166),
            (724, 155),
            (800, 169),
            (854, 218),
            (500, 287),
            (500, 361),
            (500, 434),
            (500, 510),
            (411, 559),
            (454, 574),
            (500, 587),
            (546, 574),
            (589, 559),
            (232, 299),
            (279, 271),
            (336, 272),
            (386, 309),
            (332, 319),
            (276, 318),
            (614, 309),
            (664, 272),
            (721, 271),
            (768, 299),
            (724, 318),
            (668, 319),
            (324, 693),
            (389, 668),
            (453, 655),
            (500, 666),
            (547, 655),
            (611, 668),
            (676, 693),
            (614, 755),
            (551, 782),
            (500, 787),
            (449, 782),
            (386, 755),
            (350, 697),
            (452, 693),
            (500, 698),
            (548, 693),
            (650, 697),
            (548, 726),
            (500, 732),
            (452, 726),
        ],
        np.float32,
    )
    / 1000
)
"""The mean over tight aligned crops: (68, 2) float32, x and y as shares of the sides."""

_PARTS = {"jaw": 17, "right_brow": 5, "left_brow": 5, "nose": 9}
_PARTS |= {"right_eye": 6, "left_eye": 6, "mouth": 20}
NAMES = tuple(f"{part}_{i}" for part, count in _PARTS.items() for i in range(count))
"""A name for each point; right and left are the person's own."""

_LINES = ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36))
_RINGS = ((36, 42), (42, 48), (48, 60), (60, 68))
EDGES = tuple(
    [(i, i + 1) for start, end in (*_LINES, *_RINGS) for i in range(start, end - 1)]
    + [(end - 1, start) for start, end in _RINGS]
)
"""Pairs of points that a drawing of the face joins."""
