"""Pictures of heat on faces: arrays -> a matplotlib figure. Nothing is read, nothing is shown.

Heat is drawn over the grey crop in the colours of inferno, which rise in lightness for every
reader; each map is scaled to its own highest value, so that colours compare places, not faces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from masktrain.figures import PALETTE
from masktrain.metrics import Floats

HEAT_COLORS = colormaps["inferno"]
OUTLINE = PALETTE[5]
OPACITY = 0.8
NAMES = {"gradcam": "Grad-CAM", "occlusion": "occlusion"}


@dataclass(frozen=True, eq=False)
class Panel:
    """One face to draw.

    Attributes:
        image: (S, S, 3) uint8 RGB, as the network saw it.
        title: stands above it.
        maps: by method, heat (S, S), 0 or more, to be drawn over it.
        notes: by method, stands above its map; may be missing.
        outline: (S, S) in 0..1, alpha of the mask, whose edge is drawn; None where not known.
        worn: whether that mask is on the picture; else its edge is dashed.
    """

    image: np.ndarray
    title: str
    maps: Mapping[str, Floats]
    notes: Mapping[str, str]
    outline: Floats | None = None
    worn: bool = True


def heat_figure(panels: Sequence[Panel], title: str = "") -> Figure:
    """Draw faces in columns: the crop, and below it a row for each method's heat.

    Args:
        panels: one or more, all with the same methods.
        title: stands above all.
    """
    methods = list(panels[0].maps)
    rows, columns = 1 + len(methods), len(panels)
    # Room for the title beside few faces.
    size = (1.2 + 1.65 * max(columns, 3), 0.4 + 2.0 * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for column, panel in enumerate(panels):
        _show(axes[0, column], panel.image, panel.title)
        for row, method in enumerate(methods, 1):
            drawn = overlaid(panel.image, panel.maps[method])
            _show(axes[row, column], drawn, panel.notes.get(method, ""))
            _draw_outline(axes[row, column], panel)
    for row, name in enumerate(["crop", *(NAMES.get(method, method) for method in methods)]):
        axes[row, 0].set_ylabel(name, fontsize=9)
    bar = ScalarMappable(cmap=HEAT_COLORS)
    label = "heat, as a share of the map's highest"
    figure.colorbar(bar, ax=axes[:, -1].tolist(), label=label, shrink=0.6, aspect=30)
    figure.suptitle(title, fontsize=10)
    return figure


def overlaid(image: np.ndarray, heat: Floats) -> np.ndarray:
    """Return a crop in grey with heat over it, (S, S, 3) uint8 RGB; the more heat, the more colour.

    Args:
        image: (S, S, 3) uint8 RGB.
        heat: (S, S), 0 or more; without any heat the crop is only grey.
    """
    peak = float(heat.max())
    share = heat / peak if peak > 0 else np.zeros_like(heat, dtype=np.float64)
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None]
    opacity = OPACITY * share[..., None]
    color = 255 * HEAT_COLORS(share)[..., :3]
    return np.rint(grey * (1 - opacity) + color * opacity).astype(np.uint8)


def _show(ax: Axes, image: np.ndarray, title: str) -> None:
    ax.imshow(image, interpolation="nearest")
    ax.set_title(title, fontsize=7, pad=3)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _draw_outline(ax: Axes, panel: Panel) -> None:
    outline = panel.outline
    # It needs an edge within the picture.
    if outline is None or not outline.min() < 0.5 < outline.max():
        return
    style = "solid" if panel.worn else "dashed"
    ax.contour(outline, levels=[0.5], colors=[OUTLINE], linewidths=1.2, linestyles=style)
