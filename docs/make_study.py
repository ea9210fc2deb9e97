"""The study, from its recipes to its tables: `python docs/make_study.py [PART ...] [--workers 2]`.

Trains the recipes in docs/study/ in the order of `PARTS` and writes docs/study/<part>.csv after each of them. Stopped
at any point and started again it goes on where it was; weights stay in runs/study/, and what an earlier part has
trained is not trained again. The screen and the tuning look at validation images alone; `decide` and the carry-overs
train seeds that no choice has seen, and are measured on test images too, once. docs/study_tables.py makes the tables
and figures of docs/study.md out of what stands here.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

from distill import recipe as recipes
from distill.adopt import adopt
from distill.run import Progress, accuracies_on_test, run

HERE = Path(__file__).parent / "study"
RUNS = Path(__file__).parent.parent / "runs" / "study"
PARTS = ("screen-skip", "screen-keep", "screen-rows", "seen-rows", "tune", "decide", "carry-deep", "carry-large")
"""In the order in which choices follow from what was found."""
FRESH_SEEDS = {"decide": 10, "carry-deep": 30, "carry-large": 40}
"""First seed of the parts that measure on test images; the others begin with 0."""
COLUMNS = ("stage", "seed", "loss", "validation", "test")


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--workers", type=int, default=2, help="trainings side by side, one thread each")
    arguments = parser.parse_args()
    for part in arguments.parts:
        make(part, arguments.workers)


def make(part: str, workers: int) -> None:
    """Train what is missing of one recipe and write its table."""
    recipe, folder, first = recipes.load(str(HERE / f"{part}.yaml")), RUNS / part, FRESH_SEEDS.get(part, 0)
    adopt(recipe, folder, sorted(RUNS.iterdir()) if RUNS.is_dir() else [], first)
    begin = time.monotonic()

    def tell(done: Progress) -> None:
        if done.epoch == done.epochs:
            minutes = (time.monotonic() - begin) / 60
            text = f"{minutes:6.1f} min  {part}  {done.stage}-{done.seed}  validation {done.validation_accuracy:.4f}\n"
            sys.stderr.write(text)

    found = run(recipe, folder, first, workers, tell)
    test = accuracies_on_test(folder) if part in FRESH_SEEDS else {}
    rows = [
        {
            "stage": record.stage,
            "seed": record.seed,
            "loss": f"{record.loss[-1]:.6f}" if record.loss else "",
            "validation": f"{record.validation_accuracy:.6f}",
            "test": f"{test[record.stage][record.seed - first]:.6f}" if test else "",
        }
        for record in found.records
    ]
    with (HERE / f"{part}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
