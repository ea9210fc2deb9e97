"""What the networks of one part of the study know: `python docs/study_why.py`, to docs/study/why-<part>.csv.

For every stage and seed, on training and on validation images: accuracy and cross entropy; how sure its answers are
(entropy at temperature 1 and 4, in nats, of at most ln 10 = 2.30); how often it says what its seed's teacher says.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from distill import checkpoint
from distill import data as data_sets
from distill.data import Images
from distill.predict import predictions
from distill.train import deterministic

HERE = Path(__file__).parent / "study"
RUNS = Path(__file__).parent.parent / "runs" / "study"
SOFT = 4.0
LOOKED_AT = {
    "screen-skip": (
        *("teacher", "split", "logits", "rows-3", "rows-next", "ce", "ce-middle", "kd", "kd-high", "split-pacemaker"),
        *("logits-pacemaker", "rows-3-pacemaker", "rows-next-pacemaker"),
    ),
    "screen-keep": ("teacher", "logits", "rows-3", "ce", "kd", "kd-high", "logits-pacemaker", "rows-3-pacemaker"),
    "screen-rows": ("teacher", "logits", "rows-3", "ce", "kd", "kd-high", "logits-pacemaker", "rows-3-pacemaker"),
    "seen-rows": ("seen",),
}
"""Parts and stages; a part's first stage is held for the teacher."""


def main() -> None:
    """Measure all parts that are trained."""
    for part, stages in LOOKED_AT.items():
        if (RUNS / part / "recipe.json").is_file():
            look(part, stages)


def look(part: str, stages: Sequence[str]) -> None:
    """Measure some stages of a part."""
    done = checkpoint.read_run(RUNS / part)
    data = data_sets.load(done.recipe.data)
    rows = []
    for seed in done.seeds:
        taught = {}
        for stage in stages:
            with deterministic(0):
                module = checkpoint.load_module(done.recipe, RUNS / part, stage, seed)
                answers = {
                    "train": predictions(module, data.train.pixels),
                    "held": predictions(module, data.validation.pixels),
                }
            taught = taught or answers
            rows.append({"stage": stage, "seed": seed, **_row(answers, taught, data.train, data.validation)})
    with (HERE / f"why-{part}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _row(answers: dict[str, Tensor], taught: dict[str, Tensor], train: Images, validation: Images) -> dict[str, str]:
    """Figures of one network; `taught` are the answers of the first stage, the teacher."""
    found: dict[str, float] = {}
    for name, images in (("train", train), ("held", validation)):
        logits, labels = answers[name], torch.from_numpy(images.labels)
        found[f"{name}_accuracy"] = float((logits.argmax(1) == labels).double().mean())
        found[f"{name}_cross_entropy"] = float(functional.cross_entropy(logits, labels))
        found[f"{name}_entropy"] = _entropy(logits)
        found[f"{name}_entropy_at_4"] = _entropy(logits / SOFT)
        found[f"{name}_as_teacher"] = float((logits.argmax(1) == taught[name].argmax(1)).double().mean())
    return {key: f"{value:.6f}" for key, value in found.items()}


def _entropy(logits: Tensor) -> float:
    log_p = functional.log_softmax(logits, 1)
    return float(-(log_p.exp() * log_p).sum(1).mean())


if __name__ == "__main__":
    main()
