"""Times a peer, in the peer's own environment: `python peer_run.py scale-sim|zigzag FOLDER BUDGET_S`.

Only the standard library and the peer are imported. FOLDER has a file for each layer; `answer.json` there has, for
each pass over them and each layer, seconds of wall clock and CPU and the cycles that the peer found. Starting the
process and importing the peer are not counted. One thread, if the caller sets OMP_NUM_THREADS and the like to 1.
"""

import importlib
import importlib.metadata
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

MOST_PASSES = 3
VERSIONS = {"scale-sim": ("scalesim", "numpy", "pandas"), "zigzag": ("zigzag-dse", "numpy", "onnx")}


def scale_sim(folder: Path) -> Callable[[Path], float]:
    """Runs one topology; compute cycles, stalls taken off. No traces are written."""
    scalesim = importlib.import_module("scalesim.scale_sim").scalesim

    def evaluate(topology: Path) -> float:
        files = {"config": "scale.cfg", "layout": "layout.csv", "topology": topology.name}
        paths = {key: str(folder / name) for key, name in files.items()}
        scalesim(save_disk_space=True, verbose=False, **paths).run_scale(top_path=str(folder / "out"))
        report = (folder / "out" / "run" / "COMPUTE_REPORT.csv").read_text().splitlines()
        titles, figures = ([cell.strip() for cell in line.split(",")] for line in report)
        row = dict(zip(titles, figures, strict=True))
        return float(row["Total Cycles"]) - float(row["Stall Cycles"])

    return evaluate


def zigzag(folder: Path) -> Callable[[Path], float]:
    """Searches the mapping of one ONNX file on ZigZag's own `tpu_like` machine and mapping; its cycles."""
    package = importlib.import_module("zigzag")
    search = importlib.import_module("zigzag.api").get_hardware_performance_zigzag
    inputs = Path(str(package.__file__)).parent / "inputs"
    machine, mapping = (str(inputs / kind / "tpu_like.yaml") for kind in ("hardware", "mapping"))

    def evaluate(model: Path) -> float:
        out = str(folder / "out" / model.stem)
        return float(search(str(model), machine, mapping, dump_folder=out, loma_show_progress_bar=False)[1])

    return evaluate


def one_pass(files: list[Path], evaluate: Callable[[Path], float], end: float) -> list[dict[str, float]]:
    """Every file in turn, none begun after `end` on the clock of `time.perf_counter`."""
    found: list[dict[str, float]] = []
    for file in files:
        wall, cpu = time.perf_counter(), time.process_time()
        if wall > end:
            break
        cycles = evaluate(file)
        wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
        found.append({"wall_s": wall_s, "cpu_s": cpu_s, "cycles": cycles})
    return found


def passes(files: list[Path], evaluate: Callable[[Path], float], budget_s: float) -> list[list[dict[str, float]]]:
    """As many whole passes as fit into the budget; the first one is kept even if the budget cuts it short."""
    begin = time.perf_counter()
    found = [one_pass(files, evaluate, begin + budget_s)]
    longest = time.perf_counter() - begin
    while len(found) < MOST_PASSES and time.perf_counter() - begin + longest < budget_s:
        again = time.perf_counter()
        found.append(one_pass(files, evaluate, float("inf")))
        longest = max(longest, time.perf_counter() - again)
    return found


def main() -> None:
    peer, folder, budget_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    if peer == "scale-sim":
        evaluate, files = scale_sim(folder), sorted(folder.glob("*.topology.csv"))
    else:
        evaluate, files = zigzag(folder), sorted(folder.glob("*.onnx"))
    found = passes(files, evaluate, budget_s)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS[peer])
    answer = {"version": f"{versions}, Python {platform.python_version()}", "passes": found}
    (folder / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
