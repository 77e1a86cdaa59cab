"""What a training run would do: its data in numbers, one batch as a picture, the time it takes."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from MaskTheFace.images import write_image
from masktrain.config import TrainConfig
from masktrain.data import Count, count_data
from masktrain.engine import collect_scores, pick_device, train_one_epoch
from masktrain.pictures import training_batch
from masktrain.session import Session, build_session, describe_session, load_data

STEPS = 3


def dry_run(config: TrainConfig, data: Path) -> Path:
    """Print counts per class, split and identity, and the time a run would take.

    Weights are random, whatever `init` says: neither the picture nor the time depends on them.

    Returns:
        The picture: the first training batch as the network would see it.

    Raises:
        ValueError: Settings or data that cannot be used.
        OSError: The picture cannot be written.
    """
    device, crops = pick_device(config.device), load_data(config, data)
    session = build_session(replace(config, init="none"), data, device, crops)
    session.config = config
    print(_count_table(count_data(data)))
    print(describe_session(session).split("\n", 1)[1])
    picture = config.runs / "dry_run" / "train_batch0.jpg"
    write_image(picture, training_batch(session.loader, session.preprocessing))
    print(f"first training batch: {picture}", flush=True)
    seconds = _estimate_s(session)
    print(f"estimated time: {_human(seconds)} for {config.epochs} epochs ({STEPS} steps measured)")
    return picture


def _count_table(counts: list[Count]) -> str:
    lines = [f"{'split':6} {'class':13} {'crops':>8} {'identities':>11}"]
    for count in counts:
        people = "unknown" if count.identities is None else f"{count.identities:,}"
        lines.append(f"{count.split:6} {count.label:13} {count.crops:8,} {people:>11}")
    return "\n".join(lines)


def _estimate_s(session: Session) -> float:
    """Return the seconds of all epochs, from a few steps at each side after one to warm up."""
    trained = Counter(session.side_px(epoch) for epoch in range(1, session.config.epochs + 1))
    judged = trained + Counter([session.side_px(0)])
    steps, batches = len(session.loader), sum(len(loader) for loader in session.evals.values())
    shown = list(islice(session.loader, STEPS + 1))
    seconds = 0.0
    for side_px, times in judged.items():
        seconds += times * batches * _seconds_per_batch(session, shown, side_px, training=False)
        if trained[side_px]:
            a_batch_s = _seconds_per_batch(session, shown, side_px, training=True)
            seconds += trained[side_px] * steps * a_batch_s
    return seconds


def _seconds_per_batch(
    session: Session, shown: Sequence[Any], side_px: int, training: bool
) -> float:
    for part in (shown[:1], shown[1:] or shown):
        begun = time.perf_counter()
        if training:
            train_one_epoch(
                session.net,
                part,
                session.optimizer,
                session.schedule,
                session.device,
                session.precision,
                scaler=session.scaler,
                side_px=side_px,
            )
        else:
            collect_scores(session.net, part, session.device, session.precision, side_px)
        seconds = (time.perf_counter() - begun) / len(part)
    return seconds


def _human(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
