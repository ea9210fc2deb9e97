"""What commands print for people: tables and the lines of a sweep where the console is no terminal."""

import io
import re

from rich.console import Console
from test_report import a_report, changed

from distill.log import Progress
from hw.resources import Resources
from hw.synth.families import Counts
from reports import synth, tables
from reports.candidate import Accuracy
from reports.statistics import Paired
from reports.sweep.points import Progress as Points
from reports.sweep.watch import watching
from reports.sweep.works import Done, Epoch, Failed


def printed(show, *given, terminal=False):
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal, highlight=False, markup=False)
    show(console, *given)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines() if line.strip()]


def test_a_runs_candidates_machine_by_machine():
    lines = printed(tables.show_report, changed(a_report(), "joint", results={}))
    assert lines[0] == "on big"
    assert lines[1] == "network test % cycles ms line bytes pixel bytes"
    assert lines[2] == "teacher 98.50 ± 0.71 16,004 0.0800 1,552 1,744"
    assert "joint 98.00 ± 0.71 does not fit" in lines
    assert "on array" in lines
    assert lines[-1] == "C simulation equals the integer reference on all 359 images"


def test_a_run_without_hls_says_why():
    assert printed(tables.show_report, a_report(hls=None, hls_missing="g++ is not there"))[-1] == "g++ is not there"


def test_accuracies_and_differences():
    two, one = Accuracy((0.97, 0.98), 0.975, 0.00707), Accuracy((0.9,), 0.9, None)
    lines = printed(
        tables.show_accuracies, "runs/x", {"teacher": {"validation": two, "test": one}, "ce": {"test": two}}
    )
    assert lines == [
        "runs/x",
        "network validation % test %",
        "teacher 97.50 ± 0.71 90.00",
        "ce 97.50 ± 0.71",
    ]
    paired = (
        Paired("joint", "ce", 3, 0.0125, -0.001, 0.026, 0.04),
        Paired("joint", "kd", 3, -0.002, -0.01, 0.006, 0.5),
        Paired("split", "kd", 1, 0.01, None, None, None),
    )
    assert printed(tables.show_paired, paired)[2:] == [
        "joint ce +1.25 -0.10 to +2.60 0.080 3",
        "joint kd -0.20 -1.00 to +0.60 0.500 3",
        "split kd +1.00 1",
    ]
    assert printed(tables.show_paired, ()) == []


def test_a_synthesis_beside_its_estimate():
    rows = (
        synth.LayerRow("a", Counts(1234, 20, 3, 4), Counts(1300, 22, 3, 4)),
        synth.LayerRow("source, sink and top", Counts(5, 6, 0, 0), None),
    )
    measured = Resources(1239, 26, 3, 4, "rtl", "synthesis", "yosys", None, "0.44")
    estimated = Resources(1300, 22, 3, 4, "rtl", "estimate", "fit", 0.05, "0.44")
    report = synth.Report("m", 100.0, "ecp5", rows, measured, estimated, None, None, "", "yosys.log", 1.0, "a note")
    assert printed(synth.show, report) == [
        "m for ecp5",
        "layer LUT est. FF est. DSP est. BRAM18 est.",
        "a 1,234 1,300 20 22 3 3 4 4",
        "source, sink and top 5 - 6 - 0 - 0 -",
        "all 1,239 1,300 26 22 3 3 4 4",
        "synthesis by yosys 0.44; its log is yosys.log",
        "estimate by a fit 0.44, off by up to 5.0% here",
        "a note",
    ]


def events(console):
    with watching(console) as watch:
        watch.on_training(Epoch("k", Progress("teacher", 0, None, 1, 2, 0.5, 0.75)))
        watch.on_training(Done("k", "teacher", 0, None, "net", 1, 2))
        watch.on_training(Done("q", "teacher", 0, 8, "net", 2, 2))
        watch.on_training(Failed("f", "ce", 1, "no room"))
        watch.on_points(Points(10, 4, 0, 0, 2, 4, 4, {}))
        watch.on_points(Points(10, 6, 0, 0, 4, 0, 6, {"accuracy": 0.9, "latency_ms": 2.5}))


TOLD = [
    "1 of 2: net, teacher seed 0 trained",
    "2 of 2: net, teacher seed 0 quantised to 8 bits",
    "ce seed 1 failed: no room",
]


def test_a_sweep_is_told_in_lines_where_the_console_is_no_terminal():
    best = "best accuracy 90.00 %, latency_ms 2.50 ms"
    assert printed(events) == [*TOLD, f"10 of 10 points: 6 exact, 4 left out; {best}"]


def test_a_sweep_has_bars_at_a_terminal_below_what_happened():
    lines = [line.removeprefix("\x1b[2K") for line in printed(events, terminal=True)]
    assert [line for line in lines if line in TOLD] == TOLD
    bars = [" ".join(re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]|━", "", line).split()) for line in lines]
    assert "trainings and quantisations 2/2 0:00:00 0:00:00" in bars
    assert any(bar.startswith("points: 6 exact, 4 left out; best accuracy 90.00 %, 10/10 ") for bar in bars)
