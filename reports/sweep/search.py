"""Which networks to train where there are too many: Optuna proposes, one batch after another, and learns by results.

A search begins anew whenever it is started: samplers are seeded, what was trained and simulated is kept elsewhere
and answers at once, so a search that was stopped anywhere goes on as if it had not been. Its journal is for those who
want to watch or to look into it, with optuna-dashboard for instance.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hw.errors import need
from hw.files import make_folder
from reports.sweep import columns
from reports.sweep.axes import Scalar
from reports.sweep.designs import Design
from reports.sweep.space import Space

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

BATCH = 4
"""Networks that are proposed together: not the number of workers, so that a search is the same on any machine."""
MOST_ASKS = 50
"""Proposals a training: where the sampler comes back to networks that it knows, the search ends sooner."""
BROKEN = "limits that no machine keeps"


class Found(NamedTuple):
    """What a network reaches: for each objective the best on any machine, and whether a machine keeps all limits."""

    values: tuple[float, ...]
    feasible: bool


Evaluate = Callable[[Sequence[Design]], Sequence[Found | None]]
"""Trains and simulates designs; None where one failed."""


def search(space: Space, folder: Path, evaluate: Evaluate) -> tuple[Design, ...]:
    """The networks that were tried, in order; at most `space.search.trainings` of them.

    Raises:
        MissingTool: optuna is not installed.
    """
    optuna = need("optuna", "sweep", "a search by nsga2 or tpe")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, lists = _study(optuna, space, folder), space.networks.lists
    found: dict[Design, Found | None] = {}
    asks = 0
    while len(found) < space.search.trainings and asks < MOST_ASKS * space.search.trainings:
        trials = [study.ask() for _ in range(BATCH)]
        asks += BATCH
        designs = []
        for trial in trials:
            chosen = {name: values[_index(trial, name, values)] for name, values in lists.items()}
            designs.append(space.networks.design(chosen).plain)
        new = [design for design in dict.fromkeys(designs) if design not in found]
        new = new[: space.search.trainings - len(found)]
        found |= dict(zip(new, evaluate(new), strict=True))
        for trial, design in zip(trials, designs, strict=True):
            _tell(optuna, study, trial, found.get(design))
    return tuple(found)


def _index(trial: Any, name: str, values: Sequence[Scalar]) -> int:
    """The sampler's choice of a value; words have no order."""
    if any(isinstance(value, str) for value in values):
        return int(trial.suggest_categorical(name, list(range(len(values)))))
    return int(trial.suggest_int(name, 0, len(values) - 1))


def _study(optuna: Any, space: Space, folder: Path) -> Any:
    """A study with a journal of its own; that of an earlier start goes."""
    make_folder(folder)
    path = folder / "optuna.log"
    path.unlink(missing_ok=True)
    return optuna.create_study(
        study_name=space.name,
        storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path))),
        directions=["minimize" if columns.ALL[name].better == "less" else "maximize" for name in space.objectives],
        sampler=_sampler(optuna, space),
    )


def _sampler(optuna: Any, space: Space) -> "BaseSampler":
    """NSGA-II (Deb et al. 2002) or TPE (Bergstra et al. 2011), with limits as constraints, seeded."""
    few = max(BATCH, min(space.search.trainings // 4, 50))
    if space.search.method == "nsga2":
        sampler: BaseSampler = optuna.samplers.NSGAIISampler(population_size=few, seed=space.search.seed)
    else:
        sampler = optuna.samplers.TPESampler(n_startup_trials=few, seed=space.search.seed)
    return sampler


def _tell(optuna: Any, study: Any, trial: Any, found: Found | None) -> None:
    if found is None:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return
    trial.set_constraint(BROKEN, 0.0 if found.feasible else 1.0)
    study.tell(trial, list(found.values))
