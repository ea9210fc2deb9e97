"""A design space in YAML: which networks, which machines, what is wanted of them.

Networks are dear (each is trained), machines are cheap (each is simulated); a design is one of either. Everything here
is plain data, checked at birth, and needs no torch: what the words of the network axes mean is `distill`'s matter
(`reports.sweep.trainings`).
"""

import inspect
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from hw.accelerator import BUDGET_CLOCK_MHZ, Budget, LineEngine, Machine, machine
from hw.errors import BadInput, nearest
from hw.files import exists, read_yaml
from reports.sweep import columns
from reports.sweep.axes import Scalar, Values, values_of
from reports.sweep.constraints import Constraint, contradiction, parse
from reports.sweep.designs import AXES, Design

MOST_MACHINES = 10_000_000
"""Machines of one space: their list must fit into memory."""
MOST_NETWORKS = 100_000


class Halving(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Successive halving (Jamieson and Talwalkar 2016): rung by rung more epochs and seeds for fewer networks.

    The best share `keep` of a rung, by mean validation accuracy, goes on to the next one. `epochs` and `seeds` have an
    entry a rung; the last rung's accuracy is what counts, and a network that did not reach it is no candidate.
    """

    epochs: tuple[int, ...]
    seeds: tuple[int, ...]
    keep: float = 0.5

    def __post_init__(self) -> None:
        if len(self.epochs) != len(self.seeds) or not self.epochs:
            raise BadInput(
                f"halving: {len(self.epochs)} epochs and {len(self.seeds)} seeds were found, as many of both are wanted"
            )
        if min(*self.epochs, *self.seeds, 1) < 1 or not 0 < self.keep < 1:
            raise BadInput("halving: epochs and seeds of at least 1 and a keep between 0 and 1 are wanted")


class Networks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Networks to be trained: a recipe for data, training and quantisation, and axes; or given ones as they are.

    `given` are presets, ONNX files and folders of runs, which are simulated and not trained; only runs have an
    accuracy. `teachers` adds the NxN network of every student.
    """

    recipe: str = ""
    axes: dict[str, Values] = {}
    teachers: bool = False
    halving: Halving | None = None
    given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.recipe) == bool(self.given):
            raise BadInput("networks: either a recipe (to be trained) or given ones are wanted")
        if self.given and (self.axes or self.halving or self.teachers):
            raise BadInput("networks: given ones have no axes, halving or teachers; those belong to a recipe")
        for name in self.axes:
            if name not in AXES:
                raise BadInput(f"networks: no axis {name!r}{nearest(name, AXES)}")

    @property
    def lists(self) -> dict[str, tuple[Scalar, ...]]:
        """The values of every axis, by its name."""
        return {name: values_of(f"networks: axis {name}", given) for name, given in self.axes.items()}

    def design(self, chosen: Mapping[str, Scalar]) -> Design:
        """The network with these values of the axes.

        Raises:
            BadInput: a value that the axis does not take.
        """
        try:
            return msgspec.convert(dict(chosen), Design)
        except msgspec.ValidationError as error:
            told = " ".join(f"{key}={value}" for key, value in chosen.items())
            raise BadInput(f"networks: {told}: {error}") from error


MachineKind = Literal["pipeline", "line_engine"]
_RECORDS: dict[str, type[Budget] | type[LineEngine]] = {"pipeline": Budget, "line_engine": LineEngine}
_FIXED = ("name", "source")


def machine_axes(kind: str) -> tuple[str, ...]:
    """What may differ between the machines of a kind: the fields of their records."""
    fields = msgspec.structs.fields(_RECORDS[kind])
    return tuple(field.name for field in fields if field.name not in _FIXED)


class Machines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Machines of one kind: every combination of the axes' values, the rest as in the preset or file `base`."""

    kind: MachineKind
    axes: dict[str, Values] = {}
    base: str = ""

    def __post_init__(self) -> None:
        known = machine_axes(self.kind)
        for name in self.axes:
            if name not in known:
                raise BadInput(f"machines: a {self.kind} has no axis {name!r}{nearest(name, known)}")

    @property
    def lists(self) -> dict[str, tuple[Scalar, ...]]:
        """The values of every axis, by its name."""
        return {name: values_of(f"machines: axis {name}", given) for name, given in self.axes.items()}

    def __len__(self) -> int:
        return math.prod(len(values) for values in self.lists.values())

    def __iter__(self) -> Iterator[Machine]:
        """All of them, the last axis fastest.

        Raises:
            BadInput: no such base, or a value that the machine's record refuses.
        """
        base, lists = self._base, self.lists
        for values in itertools.product(*lists.values()):
            fields = dict(zip(lists, values, strict=True))
            told = " ".join(f"{key}={value}" for key, value in fields.items())
            plain = {**base, **fields, "name": f"{self.base or self.kind} {told}".strip()}
            try:
                yield msgspec.convert(plain, _RECORDS[self.kind])
            except msgspec.ValidationError as error:
                raise BadInput(f"machines: {told}: {error}") from error

    @property
    def _base(self) -> dict[str, object]:
        if not self.base and self.kind == "pipeline":
            return {"clock_mhz": BUDGET_CLOCK_MHZ}
        found = machine(self.base or "line-64")
        if not isinstance(found, _RECORDS[self.kind]):
            raise BadInput(f"machines: the base {self.base} is no {self.kind}")
        fields: dict[str, object] = msgspec.structs.asdict(found)
        return fields


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the networks are searched: all of them, or as many `trainings` as Optuna's sampler chooses one by one.

    Machines are always all of them: a closed form screens millions.
    """

    method: Literal["exhaustive", "nsga2", "tpe"] = "exhaustive"
    trainings: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.method == "exhaustive") != (self.trainings == 0):
            raise BadInput(
                f"search: {self.method} with trainings {self.trainings} was found; nsga2 and tpe want some trainings, "
                "exhaustive wants none"
            )


class Space(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Networks x machines, what is to be good about a design, and what it must keep.

    `objectives` are names of columns (`reports.sweep.columns`); `constraints` are sentences such as "latency <= 1 ms",
    "line memory <= 16 kB" or "fits zynq-7020".

    Raises:
        BadInput: an empty axis, an unknown name, or constraints that nothing can keep.
    """

    name: str
    networks: Networks
    machines: tuple[Machines, ...]
    objectives: tuple[str, ...] = ("accuracy", "latency_ms", "line_memory_bytes")
    constraints: tuple[str, ...] = ()
    search: Search = Search()
    energy: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise BadInput(f"space {self.name!r}: wanted is a name of letters, digits, dots, hyphens and underscores")
        if not self.machines:
            raise BadInput(f"space {self.name}: machines: none found, wanted is one kind or more")
        if not self.objectives or len(set(self.objectives)) != len(self.objectives):
            raise BadInput(f"space {self.name}: objectives: one or more different ones are wanted")
        for name in self.objectives:
            columns.objective(name)
        if len(self.networks.lists) == 0 and self.search.method != "exhaustive":
            raise BadInput(f"space {self.name}: search by {self.search.method} wants axes of networks")
        if self.networks.teachers and self.search.method != "exhaustive":
            raise BadInput(
                f"space {self.name}: teachers: true does not go with a search by {self.search.method}; "
                "give the axis filters: [row, full] instead"
            )
        count = sum(len(each) for each in self.machines)
        if count > MOST_MACHINES:
            raise BadInput(f"space {self.name}: {count} machines were found, at most {MOST_MACHINES} are wanted")
        self._check_columns()
        self._check_constraints()

    def _check_columns(self) -> None:
        kinds = {each.kind for each in self.machines}
        wanted = {*self.objectives, *(each.column for each in self.kept if each.column)}
        for name in sorted(wanted & columns.PIPELINE_ONLY):
            if "line_engine" in kinds:
                raise BadInput(
                    f"space {self.name}: {name} is known of pipelines alone; leave the line engines or {name} out"
                )
        if "energy_uj" in wanted and not self.energy:
            raise BadInput(f"space {self.name}: energy_uj wants a table, such as energy: scaled-28nm")

    def _check_constraints(self) -> None:
        told = contradiction(self.kept)
        if told:
            raise BadInput(f"space {self.name}: {told}")
        for each in self.kept:
            values = self._values(each.column)
            if values and not any(each.least <= value <= each.most for value in values):
                told = ", ".join(f"{value:g}" for value in values)
                raise BadInput(f"space {self.name}: {each.text!r} leaves nothing of the axis {each.column}: {told}")
            if each.part and any(m.kind == "line_engine" for m in self.machines):
                raise BadInput(
                    f"space {self.name}: {each.text!r} is known of pipelines alone; leave the line engines out"
                )

    def _values(self, column: str) -> list[float]:
        """Of an axis of numbers that a constraint names; none where another network or machine may have any value."""
        given = [self.networks.lists.get(column)]
        if column in _RECORDS["pipeline"].__struct_fields__:
            given = [each.lists.get(column) for each in self.machines]
        if any(values is None for values in given):
            return []
        return [float(value) for values in given for value in values or () if not isinstance(value, str)]

    @property
    def kept(self) -> tuple[Constraint, ...]:
        """The constraints, read."""
        return tuple(parse(text) for text in self.constraints)

    @property
    def designs(self) -> tuple[Design, ...]:
        """All networks to be trained, each once, students first, in the order of the axes; none if they are given."""
        if not self.networks.recipe:
            return ()
        lists = self.networks.lists
        count = math.prod(len(values) for values in lists.values())
        if count > MOST_NETWORKS:
            raise BadInput(f"space {self.name}: {count} networks were found, at most {MOST_NETWORKS} are wanted")
        points = itertools.product(*lists.values())
        found = [self.networks.design(dict(zip(lists, values, strict=True))) for values in points]
        if self.networks.teachers:
            found += [msgspec.structs.replace(each, filters="full") for each in found]
        return tuple(dict.fromkeys(each.plain for each in found))

    @property
    def all_machines(self) -> tuple[Machine, ...]:
        """Every machine, kind after kind."""
        return tuple(itertools.chain.from_iterable(self.machines))


def load(path: Path) -> Space:
    """A space from a YAML file; a recipe, run or ONNX file that lies beside it may be named from there.

    Raises:
        BadInput: no such file, or not of a space's form.
    """
    space, beside = read_yaml(path, Space), path.parent

    def placed(name: str) -> str:
        return str(beside / name) if name and exists(beside / name) else name

    networks = space.networks
    given = tuple(placed(name) for name in networks.given)
    return msgspec.structs.replace(
        space, networks=msgspec.structs.replace(networks, recipe=placed(networks.recipe), given=given)
    )


def schema() -> dict[str, Any]:
    """The JSON schema of a space, for editors: msgspec's, with the names of axes, columns and kinds of machine."""
    made: dict[str, Any] = msgspec.json.schema(Space)
    parts = made["$defs"]
    for part in parts.values():
        part["description"] = inspect.cleandoc(part["description"])  # msgspec before 0.23 leaves docstrings as they are
    machines = {name for kind in _RECORDS for name in machine_axes(kind)}
    for owner, names in (("Networks", AXES), ("Machines", tuple(sorted(machines)))):
        parts[owner]["properties"]["axes"]["propertyNames"] = {"enum": list(names)}
    objectives = [column.name for column in columns.ALL.values() if column.better]
    parts["Space"]["properties"]["objectives"]["items"] = {"enum": objectives}
    return made
