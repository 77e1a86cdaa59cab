"""From crops to heat: maps of some faces, how much of each lies inside the mask, what to draw."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from masktrain.attribution import METHODS, Cells, occlusion_passes, patch_px, read_cells
from masktrain.augment import eval_transform, to_pixels
from masktrain.data import Crops, eval_loader
from masktrain.engine import to_device
from masktrain.heat import MASK, FaceHeat, as_mass, share_inside
from masktrain.heat_figures import Panel
from masktrain.mask_regions import Drawn, PreparedFaces, RegionError
from masktrain.metrics import Floats
from masktrain.model import Classifier
from masktrain.multiclass import CLASSES
from masktrain.outcomes import Answers

CALIBRATED_ON = 16
"""Faces on which it is measured what Grad-CAM's cells read."""


@dataclass
class Looked:
    """What was found on some faces.

    Attributes:
        faces: those measured whose regions are known.
        panels: those drawn, by their place among the crops.
        left_out: path and reason of each whose regions are not known, where others' are.
        cells: what Grad-CAM can say about where; None where it was not asked for.
        methods: how each method works here, in words.
    """

    faces: list[FaceHeat] = field(default_factory=list)
    panels: dict[int, Panel] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    cells: Cells | None = None
    methods: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Looker:
    """A network whose answers are explained.

    Attributes:
        methods: names in `attribution.METHODS`.
        prepared: what the generator knows about the crops; None for photos of others.
    """

    classifier: Classifier
    device: torch.device
    methods: Sequence[str]
    batch_size: int
    prepared: PreparedFaces | None

    def look(
        self, crops: Crops, answers: Answers, measured: Sequence[int], drawn: Sequence[int]
    ) -> Looked:
        """Explain what the network said of some crops.

        Args:
            crops: all of them.
            answers: what it said, in their order.
            measured: places of those whose share of heat is wanted.
            drawn: places of those that are wanted as panels; their maps are kept in memory.

        Raises:
            ExplainError, NonFiniteError: as `attribution` raises them.
        """
        from tqdm.auto import tqdm

        looked, counted, kept = Looked(), set(measured), set(drawn)
        places = np.array(sorted(counted | kept), np.int64)
        loader = eval_loader(
            _some(crops, places), eval_transform(self.classifier.preprocessing), self.batch_size
        )
        for images, _, numbers in tqdm(
            loader, desc="explaining", unit="batch", leave=False, disable=None
        ):
            batch = places[numbers.numpy()]
            inputs = to_device(images, self.device)
            if looked.cells is None and "gradcam" in self.methods:
                looked.cells = read_cells(self.classifier.net, inputs[:CALIBRATED_ON])
            maps = self._maps(inputs, answers.said[batch])
            pixels = to_pixels(images, self.classifier.preprocessing)
            for row, place in enumerate(batch.tolist()):
                masses = {name: as_mass(found[row]) for name, found in maps.items()}
                known = self._known(crops.paths[place], images.shape[-1], looked)
                face = _face_heat(crops.paths[place], answers.of([place]), masses, known)
                if place in counted and known is not None:
                    looked.faces.append(face)
                if place in kept:
                    looked.panels[place] = _panel(pixels[row], face, masses, known)
        looked.methods = _in_words(
            self.methods, self.classifier.preprocessing.size_px, looked.cells
        )
        return looked

    def _maps(self, inputs: torch.Tensor, said: np.ndarray) -> dict[str, np.ndarray]:
        answers = torch.from_numpy(said).to(self.device)
        return {name: METHODS[name](self.classifier.net, inputs, answers) for name in self.methods}

    def _known(self, path: str, side_px: int, looked: Looked) -> Drawn | None:
        if self.prepared is None:
            return None
        try:
            return self.prepared.drawn(path, side_px)
        except RegionError as error:
            looked.left_out.append((path, str(error)))
            return None


def _some(crops: Crops, places: np.ndarray) -> Crops:
    return dataclasses.replace(
        crops,
        images=crops.images[places],
        labels=crops.labels[places],
        paths=tuple(crops.paths[place] for place in places),
    )


def _face_heat(
    path: str, answer: Answers, masses: Mapping[str, Floats], known: Drawn | None
) -> FaceHeat:
    """Return what is measured on one face; `answer` is about it alone."""
    label, said = int(answer.labels[0]), int(answer.said[0])
    if known is None:
        return FaceHeat(path, label, said, float(answer.of_said[0]))
    return FaceHeat(
        path,
        label,
        said,
        float(answer.of_said[0]),
        known.template,
        known.wear,
        {name: float(region.mean()) for name, region in known.regions.items()},
        {
            method: {name: share_inside(mass, region) for name, region in known.regions.items()}
            for method, mass in masses.items()
        },
    )


def _panel(
    image: np.ndarray, face: FaceHeat, masses: Mapping[str, Floats], known: Drawn | None
) -> Panel:
    worn = ", ".join(filter(None, (face.template, face.wear)))
    title = f"says {CLASSES[face.said]} {face.score:.2f}\nis {CLASSES[face.label]}\n{worn}"
    notes = {}
    for method, mass in masses.items():
        share = face.shares.get(method, {}).get(MASK)
        notes[method] = "" if share is None else f"{share:.2f} of the heat in the outline"
        if not mass.any():
            notes[method] = "no heat"
    outline = known.regions.get(MASK) if known is not None else None
    return Panel(image, title.rstrip("\n"), masses, notes, outline, worn=bool(worn))


def _in_words(methods: Sequence[str], side_px: int, cells: Cells | None) -> dict[str, str]:
    """Return how each method works on pictures of this side."""
    words = {}
    for name in methods:
        if name == "gradcam" and cells is not None:
            words[name] = (
                f"the last convolutional stage, {cells.high} x {cells.wide} cells, enlarged to "
                f"{side_px} px; a pass forward and back for each face."
            )
        if name == "occlusion":
            window_px, stride_px = patch_px(side_px)
            words[name] = (
                f"a grey patch of {window_px} px moved by {stride_px} px over {side_px} px; heat "
                "is how far the log-odds fall where it lies; "
                f"{occlusion_passes(side_px)} passes for each face."
            )
    return words
