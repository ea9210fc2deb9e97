"""Print `requirements-dev.lock`: what the development extra needs, to the version that is installed here."""

import importlib.metadata as installed
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OWN = "pacemaker-codesign"
HEAD = """\
# The development environment to the version: make lock. To install it: pip install -r requirements-dev.lock
"""


def wanted() -> list[str]:
    """All requirements of pyproject's dev extra, those of the extras that it names among them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras, todo, found = project["optional-dependencies"], ["dev"], list(project["dependencies"])
    for extra in todo:
        for text in extras[extra]:
            own = Requirement(text)
            if canonicalize_name(own.name) == OWN:
                todo += sorted(own.extras)
            else:
                found.append(text)
    return found


def pinned(requirements: list[str]) -> dict[str, str]:
    """Versions of these and of all that they need here, by name; of builds such as 2.13.0+cpu the plain version."""
    found: dict[str, str] = {}
    todo = [(Requirement(text), "") for text in requirements]
    seen = set()
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wished in ("", *sorted(requirement.extras)):
            if (name, wished) in seen:
                continue
            seen.add((name, wished))
            found[name] = installed.version(name).partition("+")[0]
            todo += [(Requirement(text), wished) for text in installed.requires(name) or []]
    return dict(sorted(found.items()))


if __name__ == "__main__":
    sys.stdout.write(HEAD + "".join(f"{name}=={version}\n" for name, version in pinned(wanted()).items()))
