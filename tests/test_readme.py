"""The README's links lead somewhere, and it is short; what it shows is run with the other pages (`test_docs_site`)."""

import re

import pytest
from test_docs_site import ROOT

LINK = re.compile(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)")
MOST_LINES = 150
PAGES = ("README.md", "examples/README.md")
SCRIPT = re.compile(r"`(docs/\w+\.py)`")


def anchors(page):
    """What GitHub and the site make of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page = ROOT / name
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert len(links) > 10
    for path, anchor in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_anchors_are_told_apart(tmp_path):
    page = tmp_path / "a.md"
    page.write_text("# Peers, on the same layers\n\n## `a` b\n")
    assert anchors(page) == {"peers-on-the-same-layers", "a-b"}


def test_the_readme_is_short_and_names_scripts_that_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert SCRIPT.findall(text)
    assert all((ROOT / script).is_file() for script in SCRIPT.findall(text))
    assert (ROOT / "docs/front.svg").stat().st_size < 150_000
