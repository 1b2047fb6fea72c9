"""Train the built-in model on, with fresh scenes and clips.

    python -m tests.support.demo_model.train --minutes 60 --out run

Beside its answers the model learns to tell for each image token what covers its cell, through a layer of its own that
is thrown away: without that a tower this small hardly finds shapes.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from tests.support.demo_model.rows import THINGS, Row, rows
from tests.support.demo_model.weights import END, WIDTH, load
from tests.support.scenes import COLORS

Batch = dict[str, Any]
_START = Path(__file__).parent / "start"
_HEAD_STEPS = 200  # in which only the layer for cells learns, which begins anew
_CELL_SHARE = 0.3


class Stream(torch.utils.data.IterableDataset[Batch]):
    """Batches of fresh rows without end."""

    def __init__(self, tokenizer: Tokenizer, n_rows: int, seed: int) -> None:
        self._tokenizer, self._n_rows, self._seed = tokenizer, n_rows, seed

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        fresh = rows(self._seed, self._tokenizer)
        while True:
            yield collated(list(itertools.islice(fresh, self._n_rows)), self._tokenizer.token_to_id(END))


def collated(batch: list[Row], padding: int) -> Batch:
    """Rows as tensors, as Transformers takes them, and the cells of all images."""
    shape = (len(batch), max(len(row.ids) for row in batch))
    ids, labels = np.full(shape, padding), np.full(shape, -100)
    mask, kinds = np.zeros(shape, int), np.zeros(shape, int)
    for number, row in enumerate(batch):
        size = len(row.ids)
        ids[number, :size], labels[number, :size] = row.ids, row.labels
        mask[number, :size], kinds[number, :size] = 1, row.kinds
    found: Batch = {"input_ids": ids, "labels": labels, "attention_mask": mask, "mm_token_type_ids": kinds}
    found = {name: torch.tensor(array) for name, array in found.items()}
    for name, pixels, shown in (
        ("image_grid_thw", "pixel_values", [item for row in batch for item in row.images]),
        ("video_grid_thw", "pixel_values_videos", [item for row in batch for item in row.clips]),
    ):
        if shown:
            found[name] = torch.tensor([grid for _, grid in shown])
            found[pixels] = torch.tensor(np.concatenate([patches for patches, _ in shown]))
    found["cells"] = torch.tensor([cell for row in batch for cell in row.cells])
    return found


def cell_loss(out: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """How wrong each image token is about the thing that covers it, its colour and its box."""
    n, k = len(THINGS), len(COLORS)
    thing, color, box = cells[:, 0].long(), cells[:, 1].long(), cells[:, 2:]
    weight = torch.ones(n)
    weight[0] = 0.2  # most cells are empty
    on = (thing > 0).float()
    where = ((out[:, n + k :] - box).abs().mean(1) * on).sum() / on.sum().clamp(min=1)
    things = functional.cross_entropy(out[:, :n], thing, weight=weight)
    return things + 0.5 * functional.cross_entropy(out[:, n : n + k], color) + 5 * where


def step_loss(model: Any, head: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of the answers, and that of the cells."""
    cells, pixels = batch.pop("cells"), batch.pop("pixel_values", None)
    films = batch.pop("pixel_values_videos", None)
    outputs, about_cells = {}, torch.zeros(())
    if pixels is not None:
        outputs["image"] = model.model.get_image_features(pixels, batch["image_grid_thw"], return_dict=True)
        about_cells = cell_loss(head(torch.cat(list(outputs["image"].pooler_output)).float()), cells)
    if films is not None:
        outputs["video"] = model.model.get_video_features(films, batch["video_grid_thw"], return_dict=True)
    return model(**batch, mm_encoder_outputs=outputs).loss, about_cells


def main() -> None:
    """Train for some minutes, and save now and then."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path, help="folder for model.pt")
    parser.add_argument("--start", type=Path, default=_START, help="folder with the two GGUF files to begin with")
    parser.add_argument("--weights", type=Path, help="a model.pt to begin with, in place of those files")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rows", type=int, default=32, help="in a batch")
    parser.add_argument("--rate", type=float, default=6e-4, help="the highest learning rate")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    model, tokenizer = load(args.start)
    if args.weights:
        model.load_state_dict(torch.load(args.weights))
    head = torch.nn.Linear(WIDTH, len(THINGS) + len(COLORS) + 4)
    parameters = [*model.parameters(), *head.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.98))
    stream = Stream(tokenizer, args.rows, int(time.time()))
    data = iter(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4))
    model.train()
    began, means = time.time(), [0.0, 0.0]
    for step in itertools.count():
        done = (time.time() - began) / (60 * args.minutes)
        if done >= 1:
            break
        rate = args.rate * min(1.0, (step + 1) / 300) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            answers, about_cells = step_loss(model, head, next(data))
        optimizer.zero_grad()
        (_CELL_SHARE * about_cells + answers).backward()
        if step < _HEAD_STEPS:
            for parameter in model.parameters():
                parameter.grad = None
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        kept = min(0.98, step / (step + 1))
        means = [
            kept * mean + (1 - kept) * loss.item() for mean, loss in zip(means, (answers, about_cells), strict=True)
        ]
        if step % 100 == 99:
            took = time.time() - began
            print(
                f"step {step + 1} at {took:.0f} s: answers {means[0]:.4f}, cells {means[1]:.3f}, rate {rate:.1e}",
                flush=True,
            )
            torch.save(model.state_dict(), args.out / "model.pt")
    torch.save(model.state_dict(), args.out / "model.pt")


if __name__ == "__main__":
    main()
