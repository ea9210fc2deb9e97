"""What mkdocs is told besides its settings: files outside docs/ become pages, and links to them lead there.

An entry `folder/*` of the navigation stands for all pages of that folder.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Files of the top folder and the page that each becomes."""


def on_config(config: Any) -> Any:
    """Write the navigation's `folder/*` out."""
    config.nav = _written_out(config.nav, Path(config.docs_dir))
    return config


def _written_out(entry: Any, docs: Path) -> Any:
    if isinstance(entry, list):
        return [_written_out(part, docs) for part in entry]
    if isinstance(entry, dict):
        return {title: _written_out(part, docs) for title, part in entry.items()}
    if not entry.endswith("/*"):
        return entry
    pages = sorted(docs.glob(f"{entry}.md"), key=lambda page: (page.stem != "README", page.name))
    return [page.relative_to(docs).as_posix() for page in pages]


def on_files(files: Files, config: Any) -> Files:
    """Add the pages; their links begin at the top folder, a page's in docs/."""
    top = Path(config.config_file_path).parent
    for name, page in PAGES.items():
        text = (top / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text.replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn `../CHANGELOG.md` into the page's name, from however deep a folder."""

    def to_page(found: re.Match[str]) -> str:
        up = "../" * page.file.src_uri.count("/")
        return f"]({up}{PAGES[found[1]]}"

    return re.sub(rf"\]\((?:\.\./)*({'|'.join(map(re.escape, PAGES))})", to_page, markdown)
