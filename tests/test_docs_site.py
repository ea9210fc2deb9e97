"""The documentation's site: built strictly, read without a network, and what its pages tell to type is typed.

A page's blocks are what a reader meets: a block with a title is a file of that name; `console` holds commands behind
`$` and what they print; `python` is run, and a `text` block right behind it is what it prints. `...` stands for
anything. A block behind `<!-- slow -->` is run by the slow tests.
"""

import functools
import html
import http.server
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from chromium import Chromium

from hw.files import read_yaml

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TUTORIALS = ("tutorials/simulate.md", "tutorials/generate.md", "tutorials/sweep.md")
PAGES = ("index.md", *TUTORIALS, "extending.md", "../README.md")
FENCE = re.compile(
    r'^(?P<slow><!-- slow -->\n+)?```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.M | re.S
)
LOADED = re.compile(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="([^"]+)"|<link\b[^>]*\bhref="([^"]+)"')
SEEN = (
    "index.html",
    "pipeline.html",
    "line_engine.html",
    "tutorials/simulate.html",
    "api/sim.html",
    "decisions/index.html",
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    where: str
    language: str
    title: str
    text: str
    slow: bool


def blocks(page):
    source = (DOCS / page).read_text(encoding="utf-8")
    for found in FENCE.finditer(source):
        line = source.count("\n", 0, found.start("language")) + 1
        title, slow = found["title"] or "", bool(found["slow"])
        yield Block(f"docs/{page}, line {line}", found["language"], title, found["text"], slow)


def agrees(printed, wanted):
    """Whether something printed is what a page shows; `...` is anything, spaces at the end of a line do not count.

    A complaint is never just anything.
    """
    plain = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    if plain.startswith(("pacemaker: ", "exit code ")) and not wanted.startswith("pacemaker: "):
        return False
    pattern = re.escape(wanted.strip()).replace(re.escape("..."), ".*")
    return re.fullmatch(pattern, plain, re.S) is not None


def typed(command, folder):
    """What a command prints: its answer, or if it fails its complaint, which a page then has to show."""
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "MPLBACKEND": "svg"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1500)
    if done.returncode == 2:
        return done.stderr.strip().splitlines()[-1]  # notices stand above it, such as that something compiles
    if done.returncode == 0:
        return done.stdout
    return f"exit code {done.returncode}\n{done.stderr}"


def commands(text):
    """Commands of a `console` block, each with what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        lines = part.splitlines()
        end = next(i for i, line in enumerate(lines) if not line.endswith("\\")) + 1
        yield shlex.split(" ".join(line.rstrip("\\") for line in lines[:end])), "\n".join(lines[end:])


def follow(page, folder, *, slow):
    """Do what a page says, in an empty folder; returns how many things were run."""
    found, count = list(blocks(page)), 0
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block.slow and not slow:
            continue
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for command, wanted in commands(block.text):
                assert command[0] == "pacemaker", f"{block.where}: only pacemaker's commands can be tested"
                printed = typed([sys.executable, "-m", *command], folder)
                assert agrees(printed, wanted), f"{block.where}: {shlex.join(command)} printed\n{printed}"
                count += 1
        elif block.language == "python":
            wanted = after.text if after is not None and after.language == "text" else ""
            printed = typed([sys.executable, "-c", block.text], folder)
            assert agrees(printed, wanted), f"{block.where} printed\n{printed}"
            count += 1
    return count


def runs(found):
    """How many things blocks tell to run, counted by their `$` and their language."""
    return sum(
        f"\n{block.text}".count("\n$ ")
        if block.language == "console"
        else block.language == "python" and not block.title
        for block in found
    )


def grave(told):
    """Whether what a browser tells is more than the search's own notes that it is ready."""
    level = told.get("entry", told).get("level") or told.get("type") or "error"
    return level not in ("info", "log", "verbose", "debug")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def address(site):
    """Where a server of this machine shows the site."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page, tmp_path):
    assert follow(page, tmp_path, slow=False) == runs(block for block in blocks(page) if not block.slow) > 0


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(block.slow for block in blocks(page))])
def test_a_page_does_what_it_says_to_the_end(page, tmp_path):
    for tool in ("g++", "iverilog"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on the PATH")
    assert follow(page, tmp_path, slow=True) == runs(blocks(page))


def test_what_a_page_shows_is_compared():
    assert agrees("a 1\nb 2  \nc 3\n", "a 1\n...\nc 3")
    assert agrees("latency 12 cycles", "latency ... cycles")
    assert not agrees("latency 12 cycles", "latency 13 cycles")
    assert not agrees("a\nb", "a")
    assert agrees("pacemaker: no such file", "pacemaker: no such file")
    assert not agrees("pacemaker: no such file", "...")
    assert not agrees("exit code 1\n", "...")
    assert list(commands("$ pacemaker a \\\n    --b c\nx\n$ pacemaker d\n")) == [
        (["pacemaker", "a", "--b", "c"], "x"),
        (["pacemaker", "d"], ""),
    ]


def test_all_blocks_of_a_page_are_understood():
    for page in PAGES:
        source = (DOCS / page).read_text(encoding="utf-8")
        assert len(re.findall(r"^```", source, re.M)) == 2 * len(list(blocks(page))), page
        for block in blocks(page):
            assert block.title or block.language in ("console", "python", "text"), block.where


def test_a_broken_link_stops_the_build(tmp_path):
    """The build is strict about links and anchors; a page that is not in the navigation stops it too."""
    pytest.importorskip("mkdocs")
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("[a](nowhere.md) [b](#nothing)\n")
    (docs / "left-out.md").write_text("# Left out\n")
    settings = yaml.safe_load(re.sub(r"^nav:.*", "", (ROOT / "mkdocs.yml").read_text(), flags=re.M | re.S))
    settings |= {"hooks": [], "plugins": [], "extra_css": [], "nav": [{"Home": "index.md"}]}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    for told in ("left-out.md", "nowhere.md", "#nothing"):
        assert told in done.stderr


def test_pages_load_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        for pair in LOADED.findall(page.read_text(encoding="utf-8")):
            address = pair[0] or pair[1]
            assert not re.match(r"(https?:)?//", address), f"{page.name} loads {address}"
            assert (
                address.startswith("data:")
                or (page.parent / address.split("?")[0]).is_file()
                or page.name == "404.html"
            )
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_a_browser_opens_pages_without_a_complaint_or_a_foreign_request(address, tmp_path):
    browser = Chromium(tmp_path / "profile")
    try:
        browser.call("Network.enable")
        for page in SEEN:
            browser.events.clear()
            browser.call("Page.navigate", url=f"{address}/{page}")
            browser.wait(f"document.readyState === 'complete' && location.pathname === '/{page}'")
            assert browser.js("document.querySelectorAll('h1').length") >= 1
            assert browser.js("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            assert not [told for told in browser.complaints() if grave(told)], page
            asked = [
                e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
            ]
            assert asked
            assert all(url.startswith((address, "data:")) for url in asked), asked
    finally:
        browser.close()


def test_api_pages_show_what_the_modules_offer(site):
    for room, name in (("hw", "hw.network.Network"), ("sim", "sim.run.simulate"), ("distill", "distill.losses.kd")):
        assert f'id="{name}"' in (site / "api" / f"{room}.html").read_text(encoding="utf-8")
    assert 'id="reports.codesign.codesign"' in (site / "api" / "reports.html").read_text(encoding="utf-8")


def test_api_pages_show_the_fields_of_records(site):
    """Of msgspec's records and named tuples, those of their parents too."""
    for room, called in (
        ("hw", "Layer( name: str, kind: Kind, inputs: tuple[str, ...], channels: int = 0,"),
        ("hw", "Size(rows: int, cols: int)"),
        ("distill", "Stage( name: str, kind: str, teachers: dict[str, float] = {}, members: dict[str, float] = {}, "),
        ("distill", '*, method: str = "kd", standardise: bool = False,'),
    ):
        page = (site / "api" / f"{room}.html").read_text(encoding="utf-8")
        plain = " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())
        assert called.strip() in plain, called


def test_paths_and_names_that_the_guide_gives_are_there():
    text = (DOCS / "extending.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:hw|sim|distill|reports|tests|docs)/[\w./*-]+)`", text))
    assert len(paths) > 20
    for path in paths:
        assert list(ROOT.glob(path)), path
    names = set(re.findall(r"`((?:hw|sim|distill|reports)\.[\w.]+)`", text))
    assert len(names) > 15
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_the_citation_names_the_software_and_the_paper():
    cited = read_yaml(ROOT / "CITATION.cff", dict)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type", "license"} <= set(cited)
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    paper = cited["references"][0]
    assert [author["family-names"] for author in paper["authors"]] == ["Son", "Kim", "Song", "Moon", "Hwang"]
    assert paper["year"] == 2020
    assert any(entry["value"] == "arXiv:2003.03944" for entry in paper["identifiers"])
