"""One pass over the data: it learns, it stops on nonsense, it never reorders."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from MaskTheFace.coverage import WEARS
from masktrain.augment import eval_transform
from masktrain.config import TrainConfig, training_px
from masktrain.data import eval_loader, load_crops
from masktrain.engine import (
    NonFiniteError,
    NonFiniteLoss,
    collect_scores,
    cosine_schedule,
    make_optimizer,
    mean_loss,
    pick_device,
    pick_precision,
    restarted_schedule,
    train_one_epoch,
)
from masktrain.model import LogitHead, Preprocessing, build_model
from masktrain.multiclass import CLASSES, MEMBERS, OUTPUTS, ClassScores

CPU = torch.device("cpu")
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def tiny_net() -> nn.Module:
    """Return a network that learns the cartoon faces in a few steps."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 8, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), LogitHead(8 * 14 * 14)
    )


def random_batches(count: int, size: int = 8) -> list[Batch]:
    """Return batches whose label is whether the picture is bright."""
    generator = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(count):
        labels = torch.arange(size).remainder(2).float()
        images = torch.randn(size, 3, 112, 112, generator=generator) + labels.view(-1, 1, 1, 1)
        batches.append((images, labels, torch.arange(size)))
    return batches


def test_the_rate_climbs_linearly_and_falls_as_a_cosine() -> None:
    rate = cosine_schedule(0.1, steps=100, warmup_steps=10)
    assert rate(0) == pytest.approx(0.01)
    assert rate(9) == pytest.approx(0.1) == pytest.approx(rate(10))
    assert rate(55) == pytest.approx(0.05)
    assert 0 < rate(99) < 1e-3
    assert all(rate(s) > rate(s + 1) for s in range(10, 99))


def test_after_a_restart_the_rate_falls_from_the_top_again_without_a_climb() -> None:
    rate = restarted_schedule(0.1, epochs=5, restarts=(2, 3), steps=10, warmup_steps=5)
    first, last = cosine_schedule(0.1, 20, 5), cosine_schedule(0.1, 20, 0)
    assert [rate(step) for step in range(20)] == [first(step) for step in range(20)]
    assert rate(20) == rate(30) == 0.1 and rate(29) < 0.01
    assert [rate(step) for step in range(30, 50)] == [last(step) for step in range(20)]


def test_crops_grow_from_the_first_half_to_the_last_fifth() -> None:
    sides = [training_px(epoch, 10, 64, 112) for epoch in range(1, 11)]
    assert sides == [64] * 5 + [64, 80, 96, 112, 112]
    for epochs in range(1, 60):
        sides = [training_px(epoch, epochs, 48, 112) for epoch in range(1, epochs + 1)]
        assert sides == sorted(sides) and set(sides) <= {48, 64, 80, 96, 112} and sides[-1] == 112
        assert sides.count(112) >= epochs / 5
        assert all(training_px(epoch, epochs, 112, 112) == 112 for epoch in range(1, epochs + 1))


def test_training_sees_crops_of_the_side_asked_for() -> None:
    seen: list[tuple[int, ...]] = []

    class Noting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = LogitHead(3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(images.shape))
            return self.head(images.mean(dim=(2, 3)))

    net = Noting()
    optimizer = make_optimizer(net, TrainConfig(), CPU)
    for side in (None, 112, 64):
        train_one_epoch(net, random_batches(1), optimizer, lambda _: 0.01, CPU, side_px=side)
    assert [shape[2:] for shape in seen] == [(112, 112), (112, 112), (64, 64)]


@pytest.mark.parametrize(("steps", "warmup_steps"), [(1, 3), (2, 0), (3, 300)])
def test_short_runs_get_a_sensible_rate(steps: int, warmup_steps: int) -> None:
    rate = cosine_schedule(0.1, steps, warmup_steps)
    rates = [rate(step) for step in range(steps)]
    assert max(rates) == pytest.approx(0.1) and min(rates) > 0


def test_norms_and_biases_are_not_decayed() -> None:
    net = tiny_net()
    optimizer = make_optimizer(net, TrainConfig(), CPU)
    decayed, free = (group["params"] for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [5e-4, 0.0]
    assert all(p.ndim > 1 for p in decayed) and all(p.ndim == 1 for p in free)
    assert len(decayed) + len(free) == len(list(net.parameters()))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_every_optimiser_learns(name: str, momentum: float) -> None:
    net = tiny_net()
    config = replace(TrainConfig(), optimizer=name, momentum=momentum)  # type: ignore[arg-type]
    optimizer = make_optimizer(net, config, CPU)
    batches = random_batches(3)
    passes = [
        train_one_epoch(net, batches, optimizer, lambda _: 0.01, CPU, epoch=e) for e in range(1, 5)
    ]
    assert passes[-1].scores.loss < 0.5 * passes[0].scores.loss
    assert passes[-1].scores.auc == 1.0
    assert passes[-1].images_per_s > 0 and passes[-1].lr == 0.01


def test_eight_faces_can_be_overfitted(tiny_data: Path) -> None:
    crops = load_crops(tiny_data, "train")
    chosen = np.array([0, 1, 2, 3, -1, -2, -3, -4])
    eight = replace(
        crops,
        images=crops.images[chosen],
        labels=np.array([0, 1, 1, 0, 1, 0, 0, 1]),  # by heart: not what the pictures show
        paths=tuple(crops.paths[i] for i in chosen),
    )
    loader = eval_loader(eight, eval_transform(Preprocessing()), 8)
    torch.manual_seed(0)
    net = build_model("mobilenet_v3_small")
    optimizer = make_optimizer(net, replace(TrainConfig(), optimizer="adam"), CPU)
    for epoch in range(40):
        done = train_one_epoch(net, loader, optimizer, lambda _: 2e-3, CPU, epoch=epoch)
    assert done.scores.accuracy() == 1.0 and done.scores.loss < 0.05


def test_scores_are_those_of_the_batches_in_order() -> None:
    net = tiny_net()
    batches = random_batches(3)
    scores = collect_scores(net, batches, CPU)
    assert net.training  # left as it was
    with torch.no_grad():
        logits = torch.cat([net.eval()(images) for images, _, _ in batches]).double()
    labels = torch.cat([labels for _, labels, _ in batches]).double()
    np.testing.assert_allclose(scores.scores, torch.sigmoid(logits).numpy(), atol=1e-6)
    assert scores.labels.tolist() == labels.tolist()
    loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert scores.loss == pytest.approx(float(loss), abs=1e-6)


def test_a_loss_of_ways_goes_to_the_way_or_to_all_of_its_class() -> None:
    torch.manual_seed(2)
    logits = torch.randn(64, len(OUTPUTS), dtype=torch.float64)
    chances = torch.softmax(logits, dim=1)
    targets = torch.arange(64) % len(MEMBERS)
    meant = [chances[row, MEMBERS[int(target)]].sum() for row, target in enumerate(targets)]
    wanted = -torch.stack(meant).log().mean()
    assert mean_loss(logits, targets.double()).item() == pytest.approx(wanted.item())
    ways = len(CLASSES) + torch.arange(64) % len(WEARS)
    plain = nn.functional.cross_entropy(logits, ways - len(CLASSES) + 1)
    assert mean_loss(logits, ways.double()).item() == pytest.approx(plain.item())
    few = logits[:, : len(CLASSES)]
    plain = nn.functional.cross_entropy(few, targets % 3)
    assert mean_loss(few, (targets % 3).double()).item() == pytest.approx(plain.item())


def test_gradients_of_a_loss_of_ways_are_finite_where_a_way_cannot_be() -> None:
    logits = torch.tensor([[-200.0, 300, 0, 0, 0, 0, 0]] * 9, requires_grad=True)
    mean_loss(logits, torch.arange(9.0)).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_untrained_a_network_of_ways_holds_the_classes_alike() -> None:
    net = build_model("mobilenet_v3_small", "none", len(OUTPUTS)).eval()
    with torch.inference_mode():
        outputs = torch.softmax(net(torch.randn(4, 3, 112, 112)), dim=1).numpy()
    scores = ClassScores.of_outputs(np.zeros(4, int), outputs.astype(float), 0.0)
    assert scores.scores == pytest.approx(np.full((4, 3), 1 / 3), abs=0.08)


def test_scoring_changes_neither_weights_nor_statistics() -> None:
    net = tiny_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    collect_scores(net, random_batches(2), CPU)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("bad_batch", [1, 20, 21, 43])
def test_a_loss_that_is_not_finite_stops_naming_epoch_and_batch(bad_batch: int) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(1, 2, 3)) + 0 * self.weight

    def batches() -> Iterator[Batch]:
        for number in range(1, 45):
            images = torch.zeros(2, 3, 4, 4)
            images += float("nan") if number == bad_batch else 0.0
            yield images, torch.tensor([0.0, 1.0]), torch.arange(2)

    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with pytest.raises(NonFiniteLoss, match=f"epoch 3, batch {bad_batch};") as stop:
        train_one_epoch(net, batches(), optimizer, lambda _: 0.1, CPU, epoch=3)
    assert (stop.value.epoch, stop.value.batch) == (3, bad_batch)


def test_bf16_learns_too() -> None:
    net = tiny_net()
    optimizer = make_optimizer(net, TrainConfig(), CPU)
    batches = random_batches(3)
    for epoch in range(4):
        done = train_one_epoch(
            net, batches, optimizer, lambda _: 0.01, CPU, torch.bfloat16, epoch=epoch
        )
    assert done.scores.auc == 1.0
    assert all(p.dtype == torch.float32 for p in net.parameters())
    full, low = (collect_scores(net, batches, CPU, p).scores for p in (None, torch.bfloat16))
    np.testing.assert_allclose(full, low, atol=0.02)


def test_precision_follows_device_and_wish() -> None:
    assert pick_precision("off", CPU) is None
    assert pick_precision("bf16", CPU) is torch.bfloat16
    assert pick_precision("auto", CPU) in (None, torch.bfloat16)
    with pytest.raises(ValueError, match="fp16 needs a CUDA device"):
        pick_precision("fp16", CPU)


@pytest.mark.parametrize("name", ["warp", "cuda:99"])
def test_a_device_that_is_not_there_is_an_error_with_advice(name: str) -> None:
    with pytest.raises(ValueError, match=f"device {name} cannot be used here.*--device cpu"):
        pick_device(name)


def test_auto_finds_a_device() -> None:
    assert pick_device("auto").type in ("cpu", "cuda")
    assert math.isfinite(float(torch.ones(1, device=pick_device("auto"))))


def test_scores_that_are_not_finite_are_refused_with_advice() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 1), nn.Flatten(0))
    nn.init.constant_(net[1].bias, math.nan)
    batch = (torch.zeros(2, 3, 1, 1), torch.tensor([0.0, 1.0]), torch.arange(2))
    with pytest.raises(NonFiniteError, match="nan or infinite; train it with a smaller --lr"):
        collect_scores(net, [batch], torch.device("cpu"))
