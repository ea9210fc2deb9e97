"""Makes what docs/resources.md says: `python docs/make_resources.py [--family xc7] [--part samples] [--run RUN]`.

`samples` synthesises random engines and FIFOs (docs/resources_<family>.csv), `fit` turns them into the coefficients of
the estimate (hw/synth/coefficients.json) and its errors, `gates` synthesises 1x3 beside 3x3
(docs/resources_gates_xc7.csv), `text` writes the tables into docs/resources.md. With --run the student of a run is
synthesised too (docs/resources_students.csv). Rows are kept by a hash of the generated RTL, the tool and its script:
what has not changed is not made again. From nothing about 15 minutes of a core for each family.
"""

import argparse
import csv
import hashlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from scipy.optimize import nnls

from hw import resources
from hw.accelerator import Engine, pipeline_machine
from hw.files import write_json, write_text
from hw.network import Shape
from hw.resources import Calibration, Coefficients
from hw.synth import yosys
from hw.synth.families import FAMILIES, Family
from hw.synth.features import Parts, parts
from hw.synth.samples import Sample, conv_sample, sample, used, write_set
from reports import synth

HERE = Path(__file__).parent
PAGE = HERE / "resources.md"
STUDENTS = HERE / "resources_students.csv"
COEFFICIENTS = HERE.parent / "hw" / "synth" / "coefficients.json"
COUNTS = {
    "conv": 52,
    "affine": 12,
    "add": 12,
    "concat": 12,
    "mean": 16,
    "pool_mean": 8,
    "max": 12,
    "fifo": 24,
    "table": 12,
    "upsample": 12,
}
SHARE = {"xc7": 1.0, "ecp5": 0.5}
"""Of these so many for each family."""
TEST_EVERY = 4
"""Every fourth sample of a kind is never fitted on: chosen before the first fit."""
BATCH = 6
COLUMNS = ("key", "family", "name", "kind", "set", "lut", "ff", "dsp", "bram18", "module", "parameters")
WIDTHS = (32, 128, 320, 640, 1280, 1920)
# What a feature costs by the look of the RTL; the fit is drawn to it where few samples speak.
LUT_GUESS = {
    "window": 30, "index": 10, "place": 3, "port_place": 2, "port_index": 3, "walk": 3, "guard": 3, "counters": 2,
    "one": 3, "total": 1.2, "more_total": 1.2, "more_partial": 2, "soft_products": 1.5, "constant_products": 0.5,
    "rom": 0.3, "rom_words": 1, "rom_words_wide": 0.8, "rounding": 0.3, "clipping": 0.7, "clip_tests": 0.4,
}  # fmt: skip
FF_GUESS = {
    "window": 5, "index": 10, "place": 6, "port_index": 2, "walk": 3, "guard": 1, "one": 5,
    "weights_block": 0.05, "biases_block": 0.05, "ring_data": 0.5,
}  # fmt: skip
PULL = 0.08
"""A guess that is off by its whole size weighs as much as a sample that is off by this share."""
Row = dict[str, str]


def samples_of(family: str) -> Path:
    """The file of a family's samples."""
    return HERE / f"resources_{family}.csv"


def gates_of(family: str) -> Path:
    """The file of a family's 1x3 and 3x3 engines."""
    return HERE / f"resources_gates_{family}.csv"


def read(path: Path) -> list[Row]:
    """The rows of a CSV file; none if there is no such file."""
    if not path.is_file():
        return []
    with path.open() as stream:
        return list(csv.DictReader(stream))


def write(path: Path, rows: Iterable[Row], columns: Sequence[str]) -> None:
    """Write rows as CSV, sorted."""
    lines = [columns, *sorted(tuple(row[column] for column in columns) for row in rows)]
    text = "\n".join(",".join(_quoted(cell) for cell in line) for line in lines)
    write_text(path, text + "\n")


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if "," in cell or '"' in cell else cell


def key_of(each: Sample, family: Family, rom_style: str) -> str:
    """A hash of all that decides a row."""
    told = [*used(each.module), each.module, json.dumps(each.parameters), *each.roms.values()]
    told += [family.script, yosys.version(), *([rom_style] if rom_style else [])]
    return hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]


def synthesised(samples: Sequence[Sample], family: Family, path: Path, rom_style: str = "") -> list[Row]:
    """A row for each sample, from the file or made now; the file is written after every batch."""
    have = {row["key"]: row for row in read(path)}
    keys = {each.name: key_of(each, family, rom_style) for each in samples}
    missing = [each for each in samples if keys[each.name] not in have]
    for at in range(0, len(missing), BATCH):
        batch = missing[at : at + BATCH]
        with tempfile.TemporaryDirectory() as folder:
            sources = write_set(batch, Path(folder))
            out = Path(folder) / "out"
            made = yosys.synthesise(Path(folder), sources, family, out, top="samples", rom_style=rom_style)
        for each in batch:
            have[keys[each.name]] = _row(each, keys[each.name], family, made.parts[each.name])
        kept = [have[key] for key in keys.values() if key in have]
        write(path, kept, COLUMNS)
        print(f"{family.name}: {at + len(batch)} of {len(missing)}, {made.seconds} s", flush=True)
    return [have[key] for key in keys.values()]


def _row(each: Sample, key: str, family: Family, counts: msgspec.Struct) -> Row:
    seed = each.name.rpartition("_")[2]
    told = {name: str(value) for name, value in msgspec.structs.asdict(counts).items()}
    test = seed.isdigit() and int(seed) % TEST_EVERY == TEST_EVERY - 1
    parameters = {name: value for name, value in each.parameters.items() if name not in ("WEIGHTS", "BIASES")}
    return {
        "key": key, "family": family.name, "name": each.name, "kind": each.kind, "set": "test" if test else "fit",
        **told, "module": each.module, "parameters": json.dumps(parameters, separators=(",", ":")),
    }  # fmt: skip


def all_samples(family: Family) -> list[Sample]:
    """The random engines and FIFOs of a family's set."""
    share = SHARE[family.name]
    return [sample(kind, seed) for kind, count in COUNTS.items() for seed in range(int(count * share))]


def gate_samples() -> list[Sample]:
    """1x3 and 3x3 on maps of every width, 16 channels in and out: of equal folding, and of equal interval."""
    found = []
    for cols in WIDTHS:
        shape = Shape(cols * 9 // 16, cols, 16)
        for kernel, simd in (((1, 3), 16), ((3, 3), 16), ((3, 3), 48)):
            found.append(conv_sample(shape, kernel, 16, Engine(1, simd)))
    return found


def fitted(family: Family) -> Calibration:
    """Coefficients of every kind by non-negative least squares of relative errors, and their errors on the test set."""
    by_kind: dict[str, list[tuple[Row, Parts]]] = {}
    for row in read(samples_of(family.name)):
        found = parts(row["module"], json.loads(row["parameters"]), family.name)
        by_kind.setdefault(found.kind, []).append((row, found))
    wrong = [
        row["name"]
        for rows in by_kind.values()
        for row, found in rows
        if (found.dsp, found.bram18) != (int(row["dsp"]), int(row["bram18"]))
    ]
    print(f"{family.name}: DSPs or block RAMs differ in {len(wrong)}: {', '.join(wrong)}")
    return Calibration(f"yosys, {family.name}", yosys.version(), {k: _kind(rows) for k, rows in by_kind.items()})


def _kind(rows: list[tuple[Row, Parts]]) -> Coefficients:
    luts = _solved([(row, int(row["lut"]), found.lut, found.luts) for row, found in rows], LUT_GUESS)
    ffs = _solved([(row, int(row["ff"]), 0, found.ffs) for row, found in rows], FF_GUESS)
    tested = sum(row["set"] == "test" for row, _ in rows)
    return Coefficients(
        luts[0], ffs[0], len(rows) - tested, tested,
        lut_error=luts[1], ff_error=ffs[1], lut_worst=luts[2], ff_worst=ffs[2],
    )  # fmt: skip


def _solved(
    rows: list[tuple[Row, int, int, dict[str, float]]], guesses: dict[str, float]
) -> tuple[dict[str, float], float, float]:
    names = sorted({name for *_, features in rows for name in features})
    matrix = np.array([[features.get(name, 0.0) for name in names] for *_, features in rows])
    measured = np.array([count for _, count, _, _ in rows], float)
    known = np.array([exact for _, _, exact, _ in rows], float)
    fit = np.array([row["set"] == "fit" for row, *_ in rows])
    weight = 1 / np.maximum(measured, 1)
    guess = np.array([guesses.get(name, 1.0) for name in names])
    left = np.vstack([(matrix * weight[:, None])[fit], np.diag(PULL / guess)])
    right = np.concatenate([((measured - known) * weight)[fit], np.full(len(names), PULL)])
    solution, _ = nnls(left, right)
    errors = np.abs(matrix @ solution + known - measured) * weight
    test = errors[~fit]
    found = {name: round(float(value), 4) for name, value in zip(names, solution, strict=True)}
    if not test.size:
        test = np.array([np.nan])
    return found, round(float(test.mean()), 4), round(float(test.max()), 4)


def synthesised_students(run: Path) -> None:
    """The student of a run on two pipelines: layers apart and flat, for xc7 and ECP5, there with a clock."""
    rows = []
    for machine, family, flat in (
        ("pipeline-64", "xc7", False),
        ("pipeline-64", "xc7", True),
        ("pipeline-256", "xc7", False),
        ("pipeline-64", "ecp5", False),
    ):
        made = synth.synth_run(run, pipeline_machine(machine), family=family, flat=flat, fmax=family == "ecp5")
        assert made.measured is not None
        counts = {key: str(count) for key, count in made.measured.counts.items()}
        counts |= {f"estimated_{key}": str(count) for key, count in made.estimated.counts.items()}
        told = {"machine": machine, "family": family, "flat": str(int(flat)), "seconds": f"{made.seconds:.0f}"}
        timing = {"fmax_mhz": "", "path": ""}
        if made.timing is not None:
            timing = {"fmax_mhz": f"{made.timing.fmax_mhz:.1f}", "path": " ".join(made.timing.through)}
        rows.append(told | counts | timing)
    write(STUDENTS, rows, tuple(rows[0]))


def students_table() -> str:
    """A whole student, synthesised and estimated."""
    lines = [
        "| pipeline | family | | LUT | FF | DSP | block RAM | clock, longest path in | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in read(STUDENTS):
        clock = f"{row['fmax_mhz']} MHz, {row['path']}" if row["fmax_mhz"] else ""
        for name, prefix in (("flat" if row["flat"] == "1" else "layers apart", ""), ("estimate", "estimated_")):
            counts = " | ".join(f"{int(row[prefix + key]):,}" for key in ("lut", "ff", "dsp", "bram18"))
            rest = f"{clock} | {row['seconds']}" if not prefix else "| "
            lines.append(f"| {row['machine']} | {row['family']} | {name} | {counts} | {rest} |")
    return "\n".join(lines)


def write_tables() -> None:
    """The tables of docs/resources.md, between their marks."""
    text = PAGE.read_text()
    for name, table in (
        ("errors", errors_table()),
        ("gates", gates_table()),
        ("worst", worst_table()),
        ("students", students_table()),
    ):
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    write_text(PAGE, text)


def errors_table() -> str:
    """How far off the estimate is, by kind."""
    lines = [
        "| family | kind | fitted on | tested on | LUT error, mean | worst | FF error, mean | worst | DSP, block RAM |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for family, calibration in resources.calibrations().items():
        for kind, by in sorted(calibration.kinds.items()):
            numbers = (by.lut_error, by.lut_worst, by.ff_error, by.ff_worst)
            errors = " | ".join(f"{number:.1%}" for number in numbers)
            lines.append(f"| {family} | {kind} | {by.fitted} | {by.tested} | {errors} | {_exact(family, kind)} |")
    return "\n".join(lines)


def _exact(family: str, kind: str) -> str:
    """How many samples of a kind have the DSPs and block RAMs that the rules say."""
    rows = [(row, parts(row["module"], json.loads(row["parameters"]), family)) for row in read(samples_of(family))]
    same = [(f.dsp, f.bram18) == (int(row["dsp"]), int(row["bram18"])) for row, f in rows if f.kind == kind]
    return f"{sum(same)} of {len(same)}"


def worst_table() -> str:
    """The samples that were never fitted on and lie furthest off."""
    found = []
    for family, calibration in resources.calibrations().items():
        for row in read(samples_of(family)):
            p = json.loads(row["parameters"])
            each = parts(row["module"], p, family)
            by = calibration.kinds[each.kind].lut
            lut = each.lut + sum(by.get(key, 1.0) * value for key, value in each.luts.items())
            if row["set"] == "test":
                error = lut / int(row["lut"]) - 1
                shown = ", ".join(f"{key} {p[key]}" for key in ("PE", "SIMD", "IN_BITS", "WEIGHT_BITS") if key in p)
                found.append((abs(error), f"| {family} | {row['name']} | {shown} | {row['lut']} | {error:+.0%} |"))
    lines = ["| family | sample | | LUTs | estimate off by |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *(line for _, line in sorted(found, reverse=True)[:8])])


def gates_table() -> str:
    """1x3 beside 3x3, weights apart from rows."""
    rows = {row["name"]: row for row in read(gates_of("xc7"))}
    lines = [
        "| columns | kernel | PE x SIMD | cycles a pixel | LUT | FF | DSP | block RAM, rows | block RAM, weights |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in gate_samples():
        row, p = rows[each.name], each.parameters
        found = parts(each.module, each.parameters, "xc7")
        rows_bram = found.line_bram18
        kernel = f"{p['KERNEL_ROWS']}x{p['KERNEL_COLS']}"
        macs = int(p["KERNEL_ROWS"]) * int(p["KERNEL_COLS"]) * int(p["CHANNELS"]) * int(p["OUT_CHANNELS"])
        interval = macs // (int(p["PE"]) * int(p["SIMD"]))
        counts = f"{row['lut']} | {row['ff']} | {row['dsp']} | {rows_bram} | {int(row['bram18']) - rows_bram}"
        lines.append(f"| {p['COLS']} | {kernel} | {p['PE']} x {p['SIMD']} | {interval} | {counts} |")
    return "\n".join(lines)


def main() -> None:
    """All parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=sorted(FAMILIES), action="append")
    parser.add_argument("--part", choices=("samples", "gates", "fit", "text"), action="append")
    parser.add_argument("--run", type=Path, help="A run's folder, whose student is synthesised too.")
    given = parser.parse_args()
    chosen = [FAMILIES[name] for name in given.family or ("xc7", "ecp5")]
    todo = given.part or ["samples", "gates", "fit", "text"]
    for family in chosen:
        if "samples" in todo:
            synthesised(all_samples(family), family, samples_of(family.name))
        if "gates" in todo and family.name == "xc7":
            synthesised(gate_samples(), family, gates_of(family.name), "block")
    if "fit" in todo:
        have = [family for family in FAMILIES.values() if read(samples_of(family.name))]
        write_json(COEFFICIENTS, {family.name: fitted(family) for family in have})
    if given.run is not None:
        synthesised_students(given.run)
    if "text" in todo:
        write_tables()


if __name__ == "__main__":
    main()
