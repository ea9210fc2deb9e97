"""The store of sweeps, its keys and its exports: against a dictionary, kills, full disks and broken files."""

import ast
import csv
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import random_network, random_pipeline
from random_students import random_student

import hw
from hw.accelerator import Budget, LineEngine, Pipeline, machine
from hw.errors import BadInput, MissingTool
from hw.fixed import Format
from reports.sweep import columns, database, export, keys
from reports.sweep.axes import Range
from reports.sweep.space import Machines, Networks, Space
from reports.sweep.store import Outcome, Store
from reports.sweep.table import BOUND, EXACT, FAILED, KEYS, UNFIT, Subject, Table
from sim.result import Precision

ROOT = Path(__file__).parents[1]
FIGURES = [column.name for column in columns.FIGURES]
ENGINE = machine("line-64")
BITS = Precision()


def points(cells, seed=0, status=EXACT):
    """Rows of (network, machine) pairs; figures are made of the seed, some are NaN."""
    rng = np.random.default_rng(seed)
    figures = {name: np.where(rng.random(len(cells)) < 0.1, np.nan, rng.normal(size=len(cells))) for name in FIGURES}
    kept = {
        "network_key": [network for network, _ in cells],
        "machine_key": [each for _, each in cells],
        "status": [status] * len(cells),
        "reason": ["" if status == EXACT else f"because {status}"] * len(cells),
    }
    return Table({name: np.array(values, object) for name, values in kept.items()} | figures)


def subject(key, name, **said):
    return Subject(key, {"network": name, **said}, random_network(0), BITS)


def by_key(table, names=(*KEYS, *FIGURES)):
    """Rows by network, name and machine, NaN as None."""
    rows = zip(*(table[name].tolist() for name in names), strict=True)
    found = {}
    for place, row in enumerate(rows):
        name = table["network"][place] if "network" in table.columns else ""
        key = (table["network_key"][place], name, table["machine_key"][place])
        assert key not in found
        found[key] = tuple(None if value != value else value for value in row)
    return found


def sentence(act, *given):
    with pytest.raises(BadInput) as error:
        act(*given)
    return str(error.value)


# Keys


@pytest.mark.parametrize("seed", range(20))
def test_equal_networks_under_other_names_have_equal_keys_and_different_ones_have_not(seed):
    network = random_network(seed)
    key = keys.network_key(network, BITS)
    renamed = msgspec.structs.replace(network, name="other")
    again = msgspec.json.decode(msgspec.json.encode(renamed), type=type(network))
    assert keys.network_key(renamed, BITS) == keys.network_key(again, BITS) == key
    taller = network.input._replace(rows=network.shapes["input"].rows * (network.row_step + 1))
    different = [(msgspec.structs.replace(network, input=taller, row_step=network.row_step + 1), BITS)]
    different += [(network, Precision(8, 4)), (network, Precision(4, 8))]
    for place, layer in enumerate(network.layers):
        clipped = msgspec.structs.replace(layer, relu=not layer.relu)
        layers = (*network.layers[:place], clipped, *network.layers[place + 1 :])
        different.append((msgspec.structs.replace(network, layers=layers), BITS))
    found = {key, *(keys.network_key(each, bits) for each, bits in different)}
    assert len(found) == 1 + len(different)
    assert all(len(each) == keys.DIGITS for each in found)


@pytest.mark.parametrize("seed", range(10))
def test_a_students_integers_and_formats_count_its_images_and_provenance_do_not(seed):
    student = random_student(seed)

    def key(**changed):
        return keys.network_key(student.network, BITS, replace(student, **changed))

    narrow = {name: array.astype(np.int32) for name, array in reversed(student.integers.items())}
    assert key(integers=narrow, images=student.images[:1], provenance={"a": "b"}) == key()
    wider = {name: msgspec.structs.replace(each, accumulator=Format(40, 20)) for name, each in student.formats.items()}
    found = {key(), key(formats=wider), keys.network_key(student.network, BITS)}
    mirrored = [name for name, array in student.integers.items() if (array != array[..., ::-1]).any()]
    found |= {key(integers={**student.integers, name: student.integers[name][..., ::-1]}) for name in mirrored}
    assert len(found) == 3 + len(mirrored)


NUMBERS = st.sampled_from([1, 1.0, 2, 2.0, 2.5, 64, 64.0, 1e30, 0.1])
WHOLE = st.sampled_from([1, 2, 2.0, 64, 64.0])
ENGINES = st.builds(
    LineEngine,
    name=st.sampled_from("ab"),
    pe=WHOLE,
    simd=WHOLE,
    line_memory_bytes=WHOLE,
    weight_memory_bytes=WHOLE,
    dram_bytes_per_cycle=NUMBERS,
    dram_latency_cycles=WHOLE,
    clock_mhz=NUMBERS,
    source=st.sampled_from("cd"),
    resident=st.sampled_from(["all", ("a", "b"), ("b", "a")]),
)
BUDGETS = st.builds(Budget, name=st.sampled_from("ab"), macs=WHOLE, clock_mhz=NUMBERS, dsp=st.none() | WHOLE)


@settings(max_examples=200, deadline=None)
@given(st.lists(ENGINES | BUDGETS, min_size=2, max_size=5))
def test_machines_have_equal_keys_where_all_but_name_and_source_is_equal_and_only_there(machines):
    for one in machines:
        for other in machines:
            plain = [msgspec.structs.asdict(each) | {"name": "", "source": ""} for each in (one, other)]
            equal = type(one) is type(other) and plain[0] == plain[1]  # in Python 64 equals 64.0
            assert (keys.machine_key(one) == keys.machine_key(other)) == equal


def test_the_order_of_a_pipelines_engines_is_no_content_their_foldings_are():
    network = random_network(3)
    pipeline = random_pipeline(3, network)
    turned = msgspec.structs.replace(pipeline, name="other", fifos=dict(reversed(pipeline.fifos.items())))
    assert keys.machine_key(turned) == keys.machine_key(pipeline)
    edge, fifo = next(iter(pipeline.fifos.items()))
    deeper = {**pipeline.fifos, edge: msgspec.structs.replace(fifo, depth=fifo.depth + 1)}
    assert keys.machine_key(msgspec.structs.replace(pipeline, fifos=deeper)) != keys.machine_key(pipeline)


def test_figures_depend_on_code_energy_table_and_family(tmp_path):
    table = ROOT / "hw" / "energy_tables" / "horowitz-45nm.yaml"
    copy = tmp_path / "copy.yaml"
    shutil.copy(table, copy)
    named = keys.figures_key("horowitz-45nm", "xc7")
    assert keys.figures_key(str(copy), "xc7") == named
    copy.write_text(table.read_text().replace("pj: 0.03", "pj: 0.031", 1))
    assert copy.read_text() != table.read_text()
    others = [keys.figures_key(str(copy), "xc7"), keys.figures_key("", "xc7"), keys.figures_key(), keys.code_version()]
    assert len({named, *others}) == 5


def test_a_byte_of_any_file_of_hw_and_sim_changes_the_code_version(tmp_path, monkeypatch):
    before = keys.code_version()
    shutil.copytree(ROOT / "hw", tmp_path / "hw")
    monkeypatch.setattr(hw, "__path__", [str(tmp_path / "hw")])

    def version():
        keys.code_version.cache_clear()
        return keys.code_version()

    try:
        assert version() == before
        found = {before}
        for name in ("fixed.py", "energy_tables/horowitz-45nm.yaml", "synth/coefficients.json"):
            with (tmp_path / "hw" / name).open("a") as file:
                file.write("\n")
            found.add(version())
        (tmp_path / "hw" / "new.py").write_text("")
        assert len({*found, version()}) == 5
    finally:
        keys.code_version.cache_clear()


def test_the_code_version_has_every_file_of_the_sweep_that_the_evaluation_imports():
    folder, todo, found = ROOT / "reports" / "sweep", {"evaluate"}, set()
    while todo:
        name = todo.pop()
        found.add(f"{name}.py")
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "reports.sweep":
                todo |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module.startswith("reports"):
                assert node.module.startswith("reports.sweep."), "keys.SWEEP_FILES knows this folder alone"
                todo.add(node.module.removeprefix("reports.sweep."))
        todo -= {each.removesuffix(".py") for each in found}
    assert found == set(keys.SWEEP_FILES), "write the files that are imported into keys.SWEEP_FILES"


# Store


@pytest.mark.parametrize("seed", range(8))
def test_the_store_answers_as_a_dictionary_does(seed, tmp_path):
    rng = Random(seed)
    cells = [(f"n{i}", f"m{j}") for i in range(4) for j in range(12)]
    kept, names = {}, {}
    with Store(tmp_path / "sweep.sqlite", "code") as store:
        for turn in range(10):
            batch = rng.sample(cells, rng.randint(0, 20))
            rows = points(batch, seed=100 * seed + turn, status=rng.choice([EXACT, UNFIT, FAILED]))
            store.put(rows)
            for (network, _, each), row in by_key(rows).items():
                kept.setdefault((network, each), row)
            network, name = f"n{rng.randrange(4)}", rng.choice("ab")
            accuracy = rng.random()
            store.add_subjects([subject(network, name, accuracy=accuracy, family="wrn")])
            names.setdefault(network, {})[name] = accuracy
            if rng.random() < 0.3:
                store.close()
                store = Store(tmp_path / "sweep.sqlite", "code")
        for i in range(4):
            found = by_key(store.known(f"n{i}"))
            assert found == {(n, "", m): row for (n, m), row in kept.items() if n == f"n{i}"}
        bounds = points(cells, seed=seed, status=BOUND)
        store.finish(points(cells[:30], seed=7, status=BOUND))
        store.finish(bounds)
        everything = {(n, m): row for (n, _, m), row in by_key(bounds).items()} | kept
        table = store.table()
        assert list(table.columns) == [*columns.ALL, *KEYS]
        wanted = {(n, name, m): row for (n, m), row in everything.items() for name in names.get(n, {"": 0})}
        assert by_key(table) == wanted
        for network, name, accuracy in zip(table["network_key"], table["network"], table["accuracy"], strict=True):
            assert accuracy == names[network][name] if name else np.isnan(accuracy)
        assert all(
            values.dtype == (np.float64 if columns.ALL[name].type == "number" else object)
            for name, values in table.columns.items()
            if name in columns.ALL
        )
        store.close()


def test_machines_and_networks_are_kept_once_and_stand_in_every_row(tmp_path):
    pipeline = random_pipeline(1, random_network(1))
    machines = [ENGINE, Budget("small", 64, clock_mhz=150.0, source="nowhere"), pipeline]
    by = {keys.machine_key(each): each for each in machines}
    with Store(tmp_path / "sweep.sqlite", "code") as store:
        store.put(points([("n", key) for key in by]))
        assert store.table()["machine"].tolist() == ["", "", ""]
        assert np.isnan(store.table()["clock_mhz"]).all()
        store.add_machines(by)
        store.add_machines({key: msgspec.structs.replace(each, name="later") for key, each in by.items()})
        store.add_subjects([subject("n", "net", n=3, pacemaker="logits", accuracy=float("nan"))])
        table = store.table()
        found = store.machines()
    assert dict(zip(table["machine_key"], table["machine"], strict=True)) == {k: each.name for k, each in by.items()}
    assert dict(zip(table["machine"], table["kind"], strict=True)) == {
        "line-64": "line_engine",
        "small": "pipeline",
        pipeline.name: "pipeline",
    }
    assert sorted(table["clock_mhz"]) == sorted(each.clock_mhz for each in machines)
    assert table["n"].tolist() == [3.0] * 3
    assert np.isnan(table["accuracy"]).all()
    assert np.isnan(table["depth"]).all()
    assert table["pacemaker"].tolist() == ["logits"] * 3
    assert table["stem"].tolist() == [""] * 3
    plain = {
        k: each if isinstance(each, Pipeline) else msgspec.structs.replace(each, source="") for k, each in by.items()
    }
    assert found == plain


def test_points_of_other_code_are_kept_not_known_and_pruned(tmp_path):
    path, cells = tmp_path / "sweep.sqlite", [("n", "a"), ("n", "b")]
    with Store(path, "old") as store:
        store.add_machines({"a": ENGINE, "b": ENGINE, "c": ENGINE})
        store.put(points(cells, seed=1))
        store.finish(points([("n", "c")], status=BOUND))
    with Store(path, "new") as store:
        assert (len(store.known("n")), len(store.table())) == (0, 0)
        store.put(points(cells[:1], seed=2))
        assert by_key(store.table()) == by_key(points(cells[:1], seed=2))
    with Store(path, "old") as store:
        assert by_key(store.known("n")) == by_key(points(cells, seed=1))
        assert len(store.table()) == 3
    with Store(path, "new") as store:
        assert store.prune() == 3
        assert by_key(store.table()) == by_key(points(cells[:1], seed=2))
        assert list(store.machines()) == ["a"]
    with Store(path, "old") as store:
        assert len(store.table()) == 0


def test_the_store_is_opened_under_the_key_of_what_is_asked(tmp_path):
    path = tmp_path / "sweep.sqlite"
    with Store.open(path, energy="horowitz-45nm", family="xc7") as store:
        assert store.code == keys.figures_key("horowitz-45nm", "xc7")
        store.put(points([("n", "a")]))
    with Store.open(path) as store:
        assert len(store.known("n")) == 0
    with Store.open(path, energy="horowitz-45nm", family="xc7") as store:
        assert len(store.known("n")) == 1


def test_trainings_failures_and_the_last_run_come_back(tmp_path):
    space = Space(
        "s",
        Networks(recipe="r.yaml", axes={"depth": (10, 16), "alpha": Range(0.1, 0.5, step=0.1)}),
        (Machines("line_engine", {"pe": Range(1, 8, factor=2)}),),
        constraints=("latency <= 1 ms",),
    )
    first, second = Outcome("d", 0, 2, 0.5, {"curve": [0.25, 0.5]}), Outcome("d", 1, 4, None)
    path = tmp_path / "new" / "sweep.sqlite"
    with Store(path, "code") as store:
        assert (store.trainings(), store.failed_designs(), store.last_run()) == ({}, {}, None)
        store.fail_design("d", "its loss is NaN")
        store.fail_design("e", "old")
        store.fail_design("e", "new")
        assert store.failed_designs() == {"d": "its loss is NaN", "e": "new"}
        store.put_training(msgspec.structs.replace(first, accuracy=0.25))
        store.put_training(first)
        store.put_training(second)
        store.put_run(msgspec.structs.replace(space, name="older"), {})
        store.put_run(space, {"seeds": [0, 1]})
    with Store(path, "other code") as store:
        assert store.trainings() == {("d", 0): first, ("d", 1): second}
        assert store.failed_designs() == {"e": "new"}
        assert (store.last_run().space, store.last_run().provenance) == (space, {"seeds": [0, 1]})


def test_nothing_of_a_batch_is_kept_that_cannot_be_kept_whole(tmp_path):
    path = tmp_path / "sweep.sqlite"
    broken = points([("n", f"m{i}") for i in range(50)], seed=2)
    broken.columns["reason"][-1] = object()
    with Store(path, "code") as store:
        store.put(points([("n", "a")]))
        assert sentence(store.put, broken).startswith(f"{path}: the database cannot be used (")
        broken.columns["status"][:] = BOUND
        store.finish(points([("n", "b")], status=BOUND))
        assert sentence(store.finish, broken).startswith(f"{path}: the database cannot be used (")
        assert set(by_key(store.table())) == {("n", "", "a"), ("n", "", "b")}


# Kills, other processes, disks


WRITER = """
import sys
from pathlib import Path
from test_sweep_store import BATCHES, ENGINE, finished, points, subject
from reports.sweep.store import Store

with Store(Path(sys.argv[1]), "code") as store:
    store.add_machines({f"m{i}": ENGINE for i in range(20)})
    store.add_subjects([subject(f"n{i}", f"net {i}") for i in range(4)])
    print("ready", flush=True)
    for number, batch in enumerate(BATCHES):
        if not finished(store, batch):
            store.put(points(batch, seed=number))
        print(number, flush=True)
"""
BATCHES = [[(f"n{i // 40}", f"m{i}-{j}") for j in range(20)] for i in range(160)]


def finished(store, batch):
    """Whether a batch is there; never by half."""
    there = set(store.known(batch[0][0])["machine_key"])
    count = sum(each in there for _, each in batch)
    assert count in (0, len(batch))
    return count > 0


def writer(path):
    command = [sys.executable, "-c", WRITER, str(path)]
    place = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=place)


def test_a_sweep_that_is_killed_five_times_ends_in_the_rows_of_an_undisturbed_one(tmp_path):
    rng, path, most = Random(5), tmp_path / "sweep.sqlite", -1
    for _ in range(5):
        with writer(path) as process:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            for _ in range(most + 1 + rng.randint(2, 12)):  # into batches that are new
                process.stdout.readline()
            time.sleep(rng.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
            told = process.stdout.read().split()
        assert process.returncode == -signal.SIGKILL
        with Store(path, "code") as store:
            done = [finished(store, batch) for batch in BATCHES]
        assert done == sorted(done, reverse=True)
        assert most < sum(done) - 1 < len(BATCHES) - 1
        assert sum(done) - 1 >= max(map(int, told), default=0)
        most = sum(done) - 1
    with writer(path) as process:
        out, err = process.communicate()
    assert (process.returncode, err, out.split()[-1]) == (0, "", "159")
    with Store(path, "code") as store, Store(tmp_path / "other.sqlite", "code") as undisturbed:
        undisturbed.add_machines({f"m{i}": ENGINE for i in range(20)})
        undisturbed.add_subjects([subject(f"n{i}", f"net {i}") for i in range(4)])
        for number, batch in enumerate(BATCHES):
            undisturbed.put(points(batch, seed=number))
        found, wanted = store.table(), undisturbed.table()
    assert len(found) == len(wanted) == 3200
    for name, values in wanted.columns.items():
        np.testing.assert_array_equal(found[name], values)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other.sqlite", "sweep.sqlite"]


def test_a_second_process_is_refused_until_the_first_one_ends(tmp_path):
    path = tmp_path / "sweep.sqlite"
    held = (
        f"{path}: another process holds this file, perhaps a sweep that is running; wait until it has ended or stop "
        "it, or name another file"
    )
    code = (
        "import sys; from pathlib import Path; from reports.sweep.store import Store\n"
        "try: Store(Path(sys.argv[1]), 'code')\nexcept ValueError as error: print(error)"
    )
    with Store(path, "code") as store:
        store.put(points([("n", "a")]))
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT)
        assert (done.stdout, done.stderr) == (f"{held}\n", "")
        assert sentence(Store, path, "code") == held
        store.put(points([("n", "b")]))
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("", "")
    with Store(path, "code") as store:
        assert len(store.known("n")) == 2


LIMITED = """
import resource, sys
from pathlib import Path
from test_sweep_store import points
from reports.sweep.store import Store

resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
with Store(Path(sys.argv[1]), "code") as store:
    for number in range(100):
        try:
            store.put(points([("n", f"{number}-{i}") for i in range(100)], seed=number))
        except ValueError as error:
            print(number, error)
            break
    assert len(store.known("n")) == 100 * number
"""


def test_a_file_that_cannot_grow_keeps_every_finished_batch_and_goes_on_later(tmp_path):
    path = tmp_path / "sweep.sqlite"
    place = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, env=place)
    number, told = done.stdout.strip().split(" ", 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert told == (
        f"{path}: it cannot be read or written (disk I/O error); make room and run the same command again, what was "
        "kept before is still there"
    )
    assert int(number) > 3
    with Store(path, "code") as store:
        assert len(store.known("n")) == 100 * int(number)
        store.put(points([("n", f"{number}-{i}") for i in range(100)], seed=int(number)))
        assert len(store.known("n")) == 100 * int(number) + 100


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path):
    path = tmp_path / "sweep.sqlite"
    with Store(path, "code") as store:
        store.put(points([("n", "a")]))
        pages = store._database.execute("PRAGMA page_count").fetchone()[0]
        store._database.execute(f"PRAGMA max_page_count = {pages + 2}")  # SQLite's own way of playing the full disk
        full = points([("n", f"m{i}") for i in range(500)])
        assert sentence(store.put, full) == (
            f"{path}: the disk is full; make room and run the same command again, what was kept before is still there"
        )
        assert len(store.table()) == 1
        store._database.execute("PRAGMA max_page_count = 100000")
        store.put(full)
    with Store(path, "code") as store:
        assert len(store.table()) == 501


READ_ONLY = """
import os, sys
from pathlib import Path
from reports.sweep.store import Store

if os.getuid() == 0:
    os.setuid(65534)  # root may write everything
for name in sys.argv[1:]:
    try:
        Store(Path(name), "code")
    except ValueError as error:
        print(error)
"""


def test_what_cannot_be_written_is_told(tmp_path):
    with tempfile.TemporaryDirectory() as made:  # others may look into this one, not into tmp_path
        folder = Path(made)
        old, new = folder / "old.sqlite", folder / "new.sqlite"
        Store(old, "code").close()
        old.chmod(0o444)
        folder.chmod(0o555)
        command = [sys.executable, "-c", READ_ONLY, str(old), str(new), str(folder / "sub" / "new.sqlite")]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        folder.chmod(0o755)
    cure = "make the file and its folder writable, or name another file"
    assert (done.stdout.splitlines(), done.stderr) == (
        [
            f"{old}: cannot be written (attempt to write a readonly database); {cure}",
            f"{new}: cannot be written (unable to open database file); {cure}",
            f"{folder / 'sub'}: cannot be made a folder (Permission denied)",
        ],
        "",
    )
    (tmp_path / "file").write_text("")
    assert sentence(Store, tmp_path / "file" / "a", "code").endswith("cannot be made a folder (File exists)")
    assert sentence(Store, tmp_path, "code") == (
        f"{tmp_path}: a folder was found, the file of a sweep is wanted; name a file"
    )


# Files that are none


def altered(path, *statements):
    with closing(sqlite3.connect(path)) as base, base:
        for statement in statements:
            base.execute(statement)


def test_files_of_others_are_refused_and_left_as_they_are(tmp_path):
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("some notes, longer than a header of SQLite, which has a hundred bytes" * 20)
    altered(other, "CREATE TABLE points (x)")
    before = [each.read_bytes() for each in (text, other)]
    assert sentence(Store, text, "code") == (
        f"{text}: another kind of file was found, a sweep's database is wanted; name another file"
    )
    assert sentence(Store, other, "code") == (
        f"{other}: a database of another program was found, a sweep's is wanted; name another file"
    )
    assert [each.read_bytes() for each in (text, other)] == before
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("version", "age"), [(database.VERSION + 1, "a newer"), (database.VERSION - 1, "an older")])
def test_a_database_of_another_version_is_refused_and_left_as_it_is(version, age, tmp_path):
    path = tmp_path / "sweep.sqlite"
    with Store(path, "code") as store:
        store.put(points([("n", "a")]))
    altered(path, f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    assert sentence(Store, path, "code") == (
        f"{path}: a sweep's database of version {version} was found, {database.VERSION} is wanted; open it with the "
        f"pacemaker that made it, {age} one, or name another file"
    )
    assert path.read_bytes() == before


def test_columns_that_came_later_are_added(tmp_path):
    path = tmp_path / "sweep.sqlite"
    with Store(path, "old") as store:
        store.put(points([("n", "a")]))
    altered(path, "ALTER TABLE points DROP COLUMN energy_uj", "ALTER TABLE bounds DROP COLUMN energy_uj")
    with Store(path, "new") as store:
        store.put(points([("n", "a")], seed=1))
        assert by_key(store.table()) == by_key(points([("n", "a")], seed=1))
    with Store(path, "old") as store:
        assert np.isnan(store.known("n")["energy_uj"]).all()


def test_a_damaged_file_is_told_and_left_as_it_is(tmp_path):
    path = tmp_path / "sweep.sqlite"
    with Store(path, "code") as store:
        store.put(points([("n", f"m{i}") for i in range(500)]))
    whole = path.read_bytes()
    junk = np.random.default_rng(0).bytes(4096 * 8)
    for broken in (whole[: 4096 * 9] + junk + whole[4096 * 17 :], whole[: len(whole) // 2]):
        path.write_bytes(broken)
        told = sentence(Store, path, "code")
        assert told.startswith(f"{path}: the file is damaged (")
        assert told.endswith(
            "); move it away and run the sweep again, or rescue what is left in it with: "
            "sqlite3 DAMAGED .recover | sqlite3 RESCUED"
        )
        assert path.read_bytes() == broken
    path.write_bytes(whole)
    altered(path, "INSERT INTO last_run VALUES (1, '{}')", "DROP TABLE failed_designs")
    with Store(path, "code") as store:
        assert sentence(store.last_run) == (
            f"{path}: a record of another form was found (Object missing required field `space`); name another file"
        )
        assert sentence(store.failed_designs) == (
            f"{path}: the database cannot be used (no such table: failed_designs); name another file"
        )
    assert sentence(store.table).startswith(f"{path}: the database cannot be used (")


# Exports


@pytest.fixture
def exported(tmp_path):
    with Store(tmp_path / "sweep.sqlite", "code") as store:
        store.add_subjects([subject("n", 'net "1", with a comma', bits=8, accuracy=0.1 + 0.2)])
        store.add_machines({f"m{i}": ENGINE for i in range(30)})
        rows = points([("n", f"m{i}") for i in range(40)], status=UNFIT)
        rows["latency_cycles"][:4] = [12, 2.0**60, 1e300, -0.5]
        store.put(rows)
        return store.table()


def test_a_schema_that_is_no_text_is_told(tmp_path):
    path = tmp_path / "sweep.sqlite"
    with Store(path, "code"):
        pass
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute("UPDATE sqlite_master SET sql = CAST(x'435245415445ff' AS TEXT) WHERE type = 'table'")
    assert sentence(Store, path, "code").startswith(
        f"{path}: the file is damaged (its schema is no text); move it away"
    )


def test_csv_has_every_number_as_it_is(exported, tmp_path):
    path = tmp_path / "sweep.csv"
    export.write_csv(exported, path)
    with path.open(newline="") as file:
        names, *rows = csv.reader(file)
    assert names == list(exported.columns)
    assert b"\r" not in path.read_bytes()
    for name, cells in zip(names, zip(*rows, strict=True), strict=True):
        if exported[name].dtype == np.float64:
            np.testing.assert_array_equal([float(cell) if cell else np.nan for cell in cells], exported[name])
        else:
            assert list(cells) == exported[name].tolist()
    place = names.index("latency_cycles")
    assert [row[place] for row in rows[:4]] == ["12", str(2**60), "1e+300", "-0.5"]


def test_parquet_is_read_by_pyarrow_and_duckdb_with_every_number_as_it_is(exported, tmp_path):
    import duckdb  # here, so that the processes that import this file for its rows start quickly
    import pyarrow.parquet

    path = tmp_path / "sweep's.parquet"
    export.write_parquet(exported, path)
    arrow = pyarrow.parquet.read_table(path)
    assert arrow.column_names == list(exported.columns)
    with duckdb.connect() as base:
        ducks = base.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
        told = dict(base.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(path)]).fetchall())
    for name, column in zip(arrow.column_names, zip(*ducks, strict=True), strict=True):
        assert list(column) == arrow[name].to_pylist()
        if exported[name].dtype == np.float64:
            np.testing.assert_array_equal([np.nan if x is None else x for x in column], exported[name])
        else:
            assert list(column) == exported[name].tolist()
    assert told[b"unit latency_ms"] == b"ms"
    assert arrow.schema.metadata[b"unit line_memory_bytes"] == b"bytes"
    assert arrow.schema.field("energy_uj").metadata == {b"unit": b"uJ", b"text": columns.ALL["energy_uj"].text.encode()}
    assert [each.name for each in tmp_path.glob("*.parquet*")] == [path.name]


def test_an_empty_table_is_written_too(tmp_path):
    import pyarrow.parquet

    with Store(tmp_path / "sweep.sqlite", "code") as store:
        empty = store.table()
    export.write_csv(empty, tmp_path / "a.csv")
    export.write_parquet(empty, tmp_path / "a.parquet")
    assert (tmp_path / "a.csv").read_text() == ",".join(empty.columns) + "\n"
    assert pyarrow.parquet.read_table(tmp_path / "a.parquet").shape == (0, len(empty.columns))


def test_without_pyarrow_the_extra_is_named(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingTool) as error:
        export.write_parquet(exported, tmp_path / "a.parquet")
    assert str(error.value) == (
        "a Parquet file needs the package pyarrow, which is not installed: pip install 'pacemaker-codesign[sweep]'"
    )


def test_an_export_that_cannot_be_written_leaves_the_old_one(exported, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for write, name in ((export.write_csv, "a.csv"), (export.write_parquet, "a.parquet")):
        path = tmp_path / name
        path.write_text("old")
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            told = sentence(write, exported, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert told == f"{path}: cannot be written (File too large)"
        assert path.read_text() == "old"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE points SET latency_ms = 'x'",
        "UPDATE points SET network = 77",
        "DELETE FROM machines",
        "UPDATE machines SET clock_mhz = ''",
        "UPDATE machines SET id = 1000000000000 WHERE id = 1",
        "UPDATE networks SET id = -1",
    ],
)
def test_values_of_another_type_or_number_are_told(change, tmp_path):
    path = tmp_path / "sweep.db"
    with Store(path, "code") as store:
        store.put(points([("n1", "m1")]))
        store.add_machines({"m1": ENGINE})
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(change)
    with Store(path, "code") as store:
        told = sentence(store.table)
    assert told.startswith(f"{path}: the file is damaged (")
