"""The chain: distil, quantise, write the `Student`, simulate everything, generate and compare HLS, write the report."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from distill import checkpoint, parallel
from distill import data as data_sets
from distill import run as distillation
from distill.recipe import Recipe, Stage
from distill.run import OnProgress
from hw import resources, student
from hw.accelerator import LineEngine, Machine, machine
from hw.devices import Fit
from hw.errors import DoesNotFit, UnsupportedLayer, need
from hw.hls import NO_COMPILER, Comparison, compiler_available, open_generated
from hw.network import Network
from hw.passes import ensemble, executed
from reports import candidate, hls, students
from reports.candidate import Candidate, Chosen, Curve, Report, part_fits
from reports.students import Twins, accuracy_over
from reports.timing import Clock, record
from sim.folding import settled
from sim.result import Precision, Result
from sim.run import precision_of, simulate

MACHINES = ("pipeline-256", "line-64", "line-64/layer_by_layer")
NO_HLS4ML = "hls4ml is not installed (pip install 'pacemaker-codesign[hls]'), so no HLS project was made"
NO_PROJECT = "no HLS project of this run was compared yet (pacemaker codesign makes one)"
Say = Callable[[str], None]


def codesign(
    recipe: Recipe,
    folder: Path,
    machines: Sequence[str] = MACHINES,
    *,
    seed: int = 0,
    workers: int = 2,
    device: str = "cpu",
    tensorboard: bool = False,
    command: str = "",
    on_progress: OnProgress = lambda progress: None,
    say: Say = lambda message: None,
) -> Report:
    """The main job; leaves `candidates.json` and `run.json` in `folder`.

    Raises:
        PacemakerError: a machine or a file that cannot be used, or a run that was stopped.
    """
    chosen = {name: machine(name) for name in machines}
    parallel.check_alone("codesign")
    missing = hls_missing()
    if missing:
        say(missing)
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), Clock()
    students.check_traceable(recipe)
    with clock.step("distil"):
        distillation.run(recipe, folder, seed, workers, on_progress, device=device, tensorboard=tensorboard)
    with clock.step("quantise"):
        say("quantising the best student")
        students.make(folder)
    comparison = None
    if missing != NO_HLS4ML:
        with clock.step("generate and compare HLS"):
            try:
                comparison = hls.make(folder, folder / "hls", force=True, say=say).manifest.compared
            except UnsupportedLayer as error:
                missing = f"no HLS project was made: {error}"
                say(missing)
    with clock.step("simulate"):
        say("simulating")
        report = assemble(folder, chosen, comparison, missing)
    candidate.write(folder, report, record(command, started, clock.seconds, folder))
    return report


def hls_missing() -> str:
    """Why the HLS part cannot be done in full; empty if it can."""
    try:
        need("hls4ml", "hls", "generating HLS")
    except ValueError:
        return NO_HLS4ML
    return "" if compiler_available() else NO_COMPILER


def report(run: Path, machines: Sequence[str] | None = None, *, command: str = "") -> Report:
    """The report of a finished run as it was written, or made anew on other machines.

    Raises:
        PacemakerError: a run that is not finished, or a machine that cannot be used.
    """
    chosen = {name: machine(name) for name in machines or MACHINES}
    twins = students.make(run)
    if machines is None and (run / "candidates.json").is_file():
        kept = candidate.read(run)[0]
        if kept.fingerprints == twins.fingerprints:
            return kept
    started, clock = datetime.now(UTC).isoformat(timespec="seconds"), Clock()
    comparison = _compared(run)
    with clock.step("simulate"):
        made = assemble(run, chosen, comparison, "" if comparison else NO_PROJECT)
    candidate.write(run, made, record(command, started, clock.seconds, run))
    return made


def _compared(run: Path) -> Comparison | None:
    """What the run's HLS project was compared with, if it is still that of the run's student."""
    if not (run / "hls" / "manifest.json").is_file():
        return None
    manifest = open_generated(run / "hls").manifest
    return manifest.compared if manifest.student == student.of_run(run).provenance else None


def assemble(folder: Path, machines: Mapping[str, Machine], comparison: Comparison | None, missing: str) -> Report:
    """Every stage of a finished run, and the quantised student, as candidates on the machines."""
    run = checkpoint.read_run(folder)
    twins = students.make(folder)
    test = distillation.accuracies_on_test(folder)
    rows = [_candidate(run.recipe, folder, stage, run.seeds, test[stage.name], machines) for stage in run.recipe.stages]
    rows.append(_quantised(folder, twins, machines))
    data = data_sets.load(run.recipe.data)
    channels, height, width = data.shape
    return Report(
        version=candidate.VERSION,
        recipe=run.recipe.name,
        data=run.recipe.data.name,
        input=(height, width, channels),
        classes=data.classes,
        images={"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
        seeds=tuple(run.seeds),
        chosen=Chosen(distillation.outcome(folder).head, twins.stage, twins.seed),
        fingerprints=twins.fingerprints,
        candidates=tuple(rows),
        hls=comparison,
        hls_missing=missing,
    )


def network_of(recipe: Recipe, folder: Path, stage: Stage, seed: int) -> Network:
    """The network of a stage; of an ensemble its members side by side, their logits added."""
    if stage.kind != "ensemble":
        return students.traced(recipe, folder, stage.name, seed).network
    members = {name: network_of(recipe, folder, recipe.stage(name), seed) for name in stage.members}
    return ensemble(stage.name, members)


def _candidate(
    recipe: Recipe,
    folder: Path,
    stage: Stage,
    seeds: Sequence[int],
    test: Sequence[float],
    machines: Mapping[str, Machine],
) -> Candidate:
    records = [checkpoint.record_of(folder, stage.name, seed) for seed in seeds]
    network = network_of(recipe, folder, stage, seeds[0])
    found = on_machines(network, machines, Precision())
    return Candidate(
        name=stage.name,
        role=candidate.ROLES[stage.kind],
        learns_from=tuple(stage.teachers or stage.members),
        bits=None,
        validation=accuracy_over([entry.validation_accuracy for entry in records]),
        test=accuracy_over(test),
        parameters=network.parameters,
        macs=network.macs,
        executed_macs=executed(network).macs,
        results=found.results,
        unfit=found.unfit,
        resources=found.resources,
        fits=found.fits,
        curves=tuple(Curve(entry.seed, entry.loss, entry.validation) for entry in records),
        text=str(executed(network)),
    )


def _quantised(folder: Path, twins: Twins, machines: Mapping[str, Machine]) -> Candidate:
    made = student.load(folder / "student")
    found = on_machines(made.network, machines, precision_of(made), student.lifted(made))
    return Candidate(
        name=f"{twins.stage}-int{twins.bits}",
        role="quantised student",
        learns_from=(twins.stage,),
        bits=twins.bits,
        validation=accuracy_over(twins.validation),
        test=accuracy_over(twins.test),
        parameters=made.network.parameters,
        macs=made.network.macs,
        executed_macs=executed(made.network).macs,
        results=found.results,
        unfit=found.unfit,
        resources=found.resources,
        fits=found.fits,
        curves=(),
        text=str(executed(made.network)),
    )


class OnMachines(NamedTuple):
    """By machine: results, why a network does not fit, the resources of pipelines, and whether a part holds them."""

    results: dict[str, Result]
    unfit: dict[str, str]
    resources: dict[str, resources.Resources]
    fits: dict[str, Fit]


def on_machines(
    network: Network, machines: Mapping[str, Machine], precision: Precision, made: student.Student | None = None
) -> OnMachines:
    """A network on every machine; `made` is its quantised student, in the form that hardware runs, if there is one."""
    found = OnMachines({}, {}, {}, {})
    form = executed(network)
    for name, on in machines.items():
        try:
            found.results[name] = simulate(network, on, precision)
        except DoesNotFit as error:
            found.unfit[name] = str(error)
            continue
        if not isinstance(on, LineEngine):
            bits = precision.activation_bits, precision.weight_bits
            found.resources[name] = resources.estimate(form, settled(form, on, precision), *bits, student=made)
    found.fits.update(part_fits(found.resources, {name: machines[name].clock_mhz for name in found.resources}))
    return found
