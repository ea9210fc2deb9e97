"""Nothing in the packages runs what it reads, hands text to a shell, or opens a temporary file by a guessed name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("hw", "sim", "distill", "reports", "pacemaker")
MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "pty.spawn",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "tempfile.mktemp",
    "pandas.read_pickle",
    "yaml.load",
    "yaml.load_all",
    "yaml.full_load",
    "yaml.unsafe_load",
    "torch.jit.load",
    "torch.package.PackageImporter",
}
SAFE_WITH = {"torch.load": {"weights_only": True}}
FORBIDDEN_KEYWORDS = {"shell", "allow_pickle"}
"""Of any call at all, unless they are False."""


def faults(source: str) -> Iterator[str]:
    """What is forbidden in a module, as `line: what`."""
    tree = ast.parse(source)
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.split(".")[0]: alias for alias in node.names}
            yield from (f"{node.lineno}: import {a.name}" for a in node.names if a.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.split(".")[0] in MODULES:
                yield f"{node.lineno}: import {module}"
            names |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
    full = {
        name: (each if isinstance(each, str) else each.name if each.asname else name) for name, each in names.items()
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from (f"{node.lineno}: {what}" for what in faults_of_call(node, full))


def faults_of_call(call: ast.Call, names: dict[str, str]) -> Iterator[str]:
    called = dotted(call.func)
    first, dot, rest = called.partition(".")
    called = f"{names.get(first, first)}{dot}{rest}"
    given = {word.arg: word.value for word in call.keywords}
    if called in CALLS or called.split(".")[0] in MODULES:
        yield called
    for word, wanted in SAFE_WITH.get(called, {}).items():
        if not (isinstance(given.get(word), ast.Constant) and given[word].value is wanted):
            yield f"{called} without {word}={wanted}"
    for word in FORBIDDEN_KEYWORDS & given.keys():
        if not (isinstance(given[word], ast.Constant) and given[word].value is False):
            yield f"{called}({word}=...)"


def dotted(node: ast.expr) -> str:
    """`a.b.c` of names and attributes; of anything else what stands behind its last dot."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_runs_nothing_that_it_reads(room: str) -> None:
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths
    found = [f"{path.relative_to(ROOT)}:{fault}" for path in paths for fault in faults(path.read_text("utf-8"))]
    assert not found, found


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import pickle", "1: import pickle"),
        ("from shelve import open as unfold", "1: import shelve"),
        ("def f():\n    import marshal as m", "2: import marshal"),
        ("import torch\ntorch.load('a')", "2: torch.load without weights_only=True"),
        ("import torch\ntorch.load('a', weights_only=False)", "2: torch.load without weights_only=True"),
        ("import torch as t\nt.load('a', weights_only=given)", "2: torch.load without weights_only=True"),
        ("from torch import load\nload('a')", "2: torch.load without weights_only=True"),
        ("import yaml\nyaml.load(text, Loader=yaml.SafeLoader)", "2: yaml.load"),
        ("from yaml import unsafe_load as read\nread(text)", "2: yaml.unsafe_load"),
        ("import subprocess as s\ns.run('ls', shell=True)", "2: subprocess.run(shell=...)"),
        ("run('ls', shell=given)", "1: run(shell=...)"),
        ("import numpy as np\nnp.load('a', allow_pickle=True)", "2: numpy.load(allow_pickle=...)"),
        ("import os\nos.system('ls')", "2: os.system"),
        ("from tempfile import mktemp\nmktemp()", "2: tempfile.mktemp"),
        ("eval('1')", "1: eval"),
        ("exec('1')", "1: exec"),
    ],
)
def test_each_forbidden_thing_is_seen(source: str, fault: str) -> None:
    assert list(faults(source)) == [fault]


@pytest.mark.parametrize(
    "source",
    [
        "module.eval()",
        "import re\nre.compile('a')",
        "import torch\ntorch.load('a', weights_only=True)",
        "import numpy as np\nnp.load('a')\nnp.load('a', allow_pickle=False)",
        "import subprocess\nsubprocess.run(['ls'], shell=False)",
        "import yaml\nyaml.parse(text)",
    ],
)
def test_what_is_harmless_is_let_be(source: str) -> None:
    assert not list(faults(source))
