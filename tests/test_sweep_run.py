import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
from rich.console import Console

from hw.errors import BadInput, Interrupted
from reports.sweep import plan, run, terminal
from reports.sweep import space as spaces
from reports.sweep.points import Progress
from reports.sweep.result import Sweep, eligible
from reports.sweep.run import Means
from reports.sweep.table import Table
from sim.run import named, simulate

GIVEN = """
name: given
networks: {given: [wrn-10-1, wrn-10-1-1x3, wrn-16-1-1x3-keep]}
machines:
  - {kind: pipeline, axes: {macs: {first: 64, last: 512, step: 32}, clock_mhz: [100, 150, 200]}}
  - kind: line_engine
    axes: {pe: [4, 8, 16], simd: [4, 8, 16], dram_bytes_per_cycle: [1, 2, 4], line_memory_bytes: [4096, 16384, 65536]}
objectives: [latency_ms, line_memory_bytes, multipliers]
constraints: ["latency <= 5 ms"]
"""
RECIPE = """
name: tiny
data: {name: digits, train_images: 150}
network: {family: wrn, depth: 10, width: 1}
student: {heads: [global]}
training: {epochs: 1, batch: 50}
seeds: 1
stages: [{name: ce, kind: row}]
quantisation: {bits: 8, epochs: 0}
"""
TRAINED = """
name: trained
networks:
  recipe: tiny.yaml
  axes: {rows: [skip, keep], pacemaker: [none, logits], students: [1], bits: [8, 4]}
  teachers: true
machines:
  - {kind: pipeline, axes: {macs: [64, 128, 256]}}
  - {kind: line_engine, axes: {pe: [4, 8], dram_bytes_per_cycle: [1, 4]}}
objectives: [accuracy, latency_ms, on_chip_bytes]
"""


def space(tmp_path: Path, text: str) -> spaces.Space:
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    (tmp_path / "space.yaml").write_text(text)
    return spaces.load(tmp_path / "space.yaml")


def rows(table: Table) -> list[tuple[object, ...]]:
    """All rows, comparable: NaN as None."""
    values = [[None if v != v else v for v in table[name].tolist()] for name in sorted(table.columns)]
    return sorted(zip(*values, strict=True), key=repr)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    folder = tmp_path_factory.mktemp("whole")
    return run.sweep(space(folder, GIVEN), folder / "out")


def test_a_sweep_has_a_row_for_every_design_and_its_figures_are_those_of_a_simulation(whole: Sweep) -> None:
    table = whole.table
    assert len(table) == 3 * (15 * 3 + 81)
    exact = np.flatnonzero(table["status"] == "exact")
    assert exact.size > 50
    for row in random.Random(1).sample(exact.tolist(), 25):
        network, precision = named(str(table["network"][row]))
        result = simulate(network, whole.machines[table["machine_key"][row]], precision)
        for name in ("latency_cycles", "interval_cycles", "latency_ms", "line_memory_bytes", "multipliers"):
            assert table[name][row] == getattr(result, name), name


def test_what_is_left_out_is_worse_than_something_on_the_front(whole: Sweep) -> None:
    every = run.sweep(whole.space, Path(whole.provenance.folder), exhaustive=True)
    front = every.table.rows(run.page.front_of(every))
    assert rows(front) == rows(whole.table.rows(run.page.front_of(whole)))
    assert (every.table["status"] == "bound").sum() < (whole.table["status"] == "bound").sum()


def test_a_sweep_leaves_its_rows_and_its_page(whole: Sweep) -> None:
    folder = Path(whole.provenance.folder)
    kept = parquet.read_table(folder / "rows.parquet")
    assert kept.num_rows == len(whole.table)
    assert (folder / "rows.csv").read_text().count("\n") == len(whole.table) + 1
    assert "<title>" in (folder / "sweep.html").read_text()
    assert not (folder / "trained").exists()


def test_the_same_sweep_again_simulates_nothing(whole: Sweep) -> None:
    told: list[Progress] = []
    again = run.sweep(whole.space, Path(whole.provenance.folder), Means(on_points=told.append))
    assert rows(again.table) == rows(whole.table)
    assert told[-1].simulated == 0
    assert told[-1].waiting == 0


def test_a_sweep_that_was_stopped_goes_on(whole: Sweep, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.exact > 20:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as told:
        run.sweep(whole.space, tmp_path / "out", Means(on_points=stop))
    assert str(told.value) == f"{tmp_path / 'out'}: stopped; everything finished is kept, and the same command goes on"
    assert rows(run.sweep(whole.space, tmp_path / "out").table) == rows(whole.table)


def test_a_sweep_that_was_killed_five_times_ends_in_the_same_rows(whole: Sweep, tmp_path: Path) -> None:
    """SIGKILL at a random moment between the first write and the end; nothing twice, nothing lost."""
    space(tmp_path, GIVEN)
    killed(tmp_path, random.Random(7), 5, longest=2.0)
    assert rows(whole.table) == rows_of(tmp_path / "out" / "rows.parquet")


@pytest.mark.slow
def test_a_sweep_with_trainings_that_was_killed_ends_in_the_same_rows(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        space(tmp_path / name, TRAINED)
    run.sweep(spaces.load(tmp_path / "whole" / "space.yaml"), tmp_path / "whole" / "out")
    killed(tmp_path / "killed", random.Random(8), 5, longest=12.0)
    found = rows_of(tmp_path / "killed" / "out" / "rows.parquet")
    assert found == rows_of(tmp_path / "whole" / "out" / "rows.parquet")


def killed(folder: Path, generator: random.Random, times: int, longest: float) -> None:
    """Start the command again and again and kill it, then let it end."""
    words = [sys.executable, "-m", "pacemaker", "sweep", "space.yaml", "--out", "out"]
    for _ in range(times):
        process = subprocess.Popen(
            words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(generator.uniform(0.3, longest))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def rows_of(path: Path) -> list[tuple[object, ...]]:
    table = parquet.read_table(path)
    values = [table.column(name).to_pylist() for name in sorted(table.column_names)]
    return sorted(zip(*values, strict=True), key=repr)


def test_trained_networks_are_designs_with_accuracies(tmp_path: Path) -> None:
    asked = space(tmp_path, TRAINED)
    made = run.sweep(asked, tmp_path / "out", Means(workers=1))
    table = made.table
    assert len(table) == (2 * 2 * 2 + 2) * 7
    assert set(table["role"]) == {"student", "teacher"}
    by_network = {name: set(table["accuracy"][table["network"] == name]) for name in set(table["network"])}
    assert all(len(found) == 1 for found in by_network.values())
    assert all(0 < value.pop() <= 1 for value in by_network.values())
    shared = Means(workers=1, trained=tmp_path / "out" / "trained")
    planned = plan.plan(asked, tmp_path / "other", shared)
    assert (planned.networks, planned.machines, planned.points) == (10, 7, 70)
    assert (planned.trainings, planned.quantisations) == (0, 0)
    assert planned.trainings_there == 5
    assert planned.quantisations_there == 10
    assert planned.point_seconds
    assert planned.point_seconds > 0
    again = run.sweep(asked, tmp_path / "other", shared)
    assert rows(again.table) == rows(table)


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    planned = plan.plan(space(tmp_path, TRAINED), tmp_path / "out")
    assert (planned.trainings, planned.trainings_there) == (5, 0)
    assert (planned.quantisations, planned.quantisations_there) == (10, 0)
    assert not (tmp_path / "out").exists()


def test_a_network_that_fails_is_kept_with_its_reason_and_the_sweep_goes_on(tmp_path: Path) -> None:
    text = TRAINED.replace("rows: [skip, keep]", "depth: [10, 11]").replace(
        "pacemaker: [none, logits]", "pacemaker: [none]"
    )
    said: list[str] = []
    made = run.sweep(space(tmp_path, text), tmp_path / "out", Means(workers=1, say=said.append))
    failed = made.table.rows(made.table["status"] == "failed")
    assert set(failed["network"]) == {
        "wrn-11-1 1x3 keep rows alone 8 bit",
        "wrn-11-1 1x3 keep rows alone 4 bit",
        "wrn-11-1 3x3 8 bit",
        "wrn-11-1 3x3 4 bit",
    }
    assert all("depth" in reason for reason in failed["reason"])
    assert len(made.table) == 4 * 7 + 4
    assert any(text.startswith("wrn-11-1") for text in said)


def test_no_network_at_all_is_an_error(tmp_path: Path) -> None:
    text = TRAINED.replace("rows: [skip, keep]", "depth: [11]")
    with pytest.raises(BadInput, match=r"^space trained: none of its networks can be used; the first one, wrn-11-1 "):
        run.sweep(space(tmp_path, text), tmp_path / "out")


def test_a_search_trains_some_networks_and_ends_in_the_same_rows_again(tmp_path: Path) -> None:
    text = TRAINED.replace("teachers: true", "").replace("[8, 4]", "[8, 6, 4, 3]")
    asked = space(tmp_path, text + "search: {method: nsga2, trainings: 5}\n")
    made = run.sweep(asked, tmp_path / "out", Means(workers=1))
    assert len(set(made.table["network"])) == 5
    assert (tmp_path / "out" / "optuna.log").is_file()
    assert rows(run.sweep(asked, tmp_path / "out", Means(workers=1)).table) == rows(made.table)


def test_halving_drops_networks_and_says_so(tmp_path: Path) -> None:
    text = TRAINED.replace("teachers: true", "halving: {epochs: [1, 2], seeds: [1, 1], keep: 0.5}")
    made = run.sweep(space(tmp_path, text), tmp_path / "out", Means(workers=1))
    dropped = made.table.rows(np.array([str(reason).startswith("halving") for reason in made.table["reason"]]))
    assert len(dropped) == 2 * 2
    assert len(made.table) == 2 * 2 * 7 + 4
    assert not np.isnan(made.table["accuracy"][made.table["status"] == "exact"]).any()


def test_where_nothing_keeps_the_constraints_each_is_told(tmp_path: Path) -> None:
    impossible = GIVEN.replace("latency <= 5 ms", "latency <= 1 us").replace("wrn-10-1, ", "")
    made = run.sweep(space(tmp_path, impossible), tmp_path / "out", exhaustive=True)
    assert not eligible(made).any()
    exact = int((made.table["status"] == "exact").sum())
    assert terminal.unkept(made) == [
        f"no design keeps all constraints; of {exact:,} that fit their machine may keep: 'latency <= 1 us' 0"
    ]


def test_an_accuracy_that_nobody_knows_is_refused_or_told(tmp_path: Path) -> None:
    asked = space(tmp_path, GIVEN.replace("objectives: [", "objectives: [accuracy, "))
    with pytest.raises(BadInput) as error:
        run.sweep(asked, tmp_path / "out")
    assert str(error.value) == (
        "space given: accuracy is asked for and known of none of its networks (presets and ONNX files have none); "
        "leave it out of objectives and constraints, or give runs or a recipe"
    )


def test_the_command_tells_what_it_does(tmp_path: Path) -> None:
    space(tmp_path, GIVEN)
    words = [sys.executable, "-m", "pacemaker", "sweep"]
    planned = subprocess.run(
        [*words, "space.yaml", "--dry-run", "--json"], cwd=tmp_path, capture_output=True, text=True
    )
    assert json.loads(planned.stdout)["points"] == 378
    assert not (tmp_path / "runs").exists()
    done = subprocess.run([*words, "space.yaml", "--json"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["designs"] == 378
    assert told["front"]
    assert done.stderr.splitlines()[-1] == "The report: runs/given/sweep.html"
    schema = subprocess.run([*words, "--schema"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "propertyNames" in schema.stdout
    nothing = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr.startswith("pacemaker: sweep: no space was found, a YAML file is wanted")


def test_a_given_network_that_cannot_be_read_leaves_nothing_behind(tmp_path: Path) -> None:
    asked = space(tmp_path, GIVEN.replace("wrn-10-1-1x3", str(tmp_path / "gone.onnx")))
    with pytest.raises(BadInput, match=f"^{tmp_path}/gone.onnx: no such file$"):
        run.sweep(asked, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_front_fits_into_a_terminal_of_80_columns(whole: Sweep) -> None:
    shown = Console(width=80, record=True, file=io.StringIO())
    terminal.show(shown, whole)
    lines = shown.export_text().splitlines()
    assert max(map(len, lines)) == 80
    told = " ".join(lines).replace(",", "").split()
    table = whole.table
    first = min(np.flatnonzero(eligible(whole)), key=lambda row: table["latency_ms"][row])
    for word in str(table["machine"][first]).split():
        assert word in told
    assert f"{table['multipliers'][first]:.0f}" in told
