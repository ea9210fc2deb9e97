"""The examples do what their docstrings say: each in a process of its own, in an empty folder.

A notebook's cells are run as one script: a notebook is JSON, so that wants no Jupyter.
"""

import ast
import json
import re
import shutil
import sys
import textwrap

import pytest
from test_docs_site import ROOT, agrees, typed

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
SLOW = (
    "hardware.ipynb",
    "06_hls.py",
    "07_rtl.py",
    "09_sweep_trained.py",
    "10_export_onnx.py",
    "machine_learning.ipynb",
)
WANTED = {
    "02_your_module.py": ("torch",),
    "05_distil.py": ("torch", "sklearn"),
    "06_hls.py": ("torch", "sklearn", "hls4ml"),
    "07_rtl.py": ("torch", "sklearn"),
    "08_sweep.py": ("pyarrow", "bokeh", "matplotlib"),
    "09_sweep_trained.py": ("torch", "sklearn", "pyarrow", "bokeh", "matplotlib"),
    "10_export_onnx.py": ("torch", "sklearn", "onnx"),
    "12_onnx_in.py": ("onnx",),
    "14_trained_module.py": ("torch", "sklearn"),
    "hardware.ipynb": ("pyarrow", "bokeh", "matplotlib"),
    "machine_learning.ipynb": ("torch", "sklearn", "matplotlib"),
}
PROGRAMS = {"06_hls.py": "g++", "07_rtl.py": "iverilog"}
MOST_LINES = 60
MOST_BYTES = 300_000
MARKED = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in SCRIPTS]
MARKED_NOTEBOOKS = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in NOTEBOOKS]


def promised(script):
    """What a script's docstring says that it prints."""
    told = ast.get_docstring(ast.parse((EXAMPLES / script).read_text(encoding="utf-8")))
    return textwrap.dedent(re.split(r"^It prints.*:\n\n", told, flags=re.M)[1])


def notebook(name):
    return json.loads((EXAMPLES / name).read_text(encoding="utf-8"))


def code(name):
    """The cells of a notebook as a script."""
    cells = ["".join(cell["source"]) for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]
    return "\n\n".join(cells) + "\n"


def streams(name):
    """What the cells of a notebook printed when it was made."""
    outputs = [each for cell in notebook(name)["cells"] for each in cell.get("outputs", ())]
    return "".join("".join(each["text"]) for each in outputs if each["output_type"] == "stream")


def need(name):
    for module in WANTED.get(name, ()):
        pytest.importorskip(module)
    program = PROGRAMS.get(name)
    if program and shutil.which(program) is None:
        pytest.skip(f"{program} is not on the PATH")


@pytest.mark.parametrize("script", MARKED)
def test_a_script_prints_what_it_says(script, tmp_path):
    need(script)
    printed = typed([sys.executable, str(EXAMPLES / script)], tmp_path)
    assert agrees(printed, promised(script)), f"{script} printed\n{printed}"


@pytest.mark.parametrize("name", MARKED_NOTEBOOKS)
def test_the_cells_of_a_notebook_run(name, tmp_path):
    need(name)
    script = tmp_path / "cells.py"
    script.write_text(code(name), encoding="utf-8")
    printed = typed([sys.executable, script.name], tmp_path)
    if name in SLOW:  # it trains, and accuracies depend on the processor
        assert printed.count("\n") == streams(name).count("\n"), printed
        assert not printed.startswith("exit code")
    else:
        assert agrees(printed, streams(name)), printed


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_small_whole_and_tells_nothing_of_its_maker(name):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    assert not re.search(r"/home/|/root|/tmp|/work|/opt/|\.venv|https?://(?!arxiv\.org/)", text)
    made = [cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in made] == list(range(1, len(made) + 1))
    kinds = {each["output_type"] for cell in made for each in cell["outputs"]}
    assert "error" not in kinds
    assert not any(each.get("name") == "stderr" for cell in made for each in cell["outputs"])


def test_scripts_are_short_numbered_and_listed():
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for number, script in enumerate(SCRIPTS, start=1):
        assert script.startswith(f"{number:02}_")
        assert len((EXAMPLES / script).read_text(encoding="utf-8").splitlines()) <= MOST_LINES, script
    for path in EXAMPLES.iterdir():
        if path.suffix in (".py", ".ipynb", ".yaml"):
            assert f"({path.name})" in listed, path.name
    assert len(SCRIPTS) == 14
    assert set(SLOW) | set(WANTED) | set(PROGRAMS) <= {*SCRIPTS, *NOTEBOOKS}
