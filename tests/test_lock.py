"""The lock file of development has every dependency of pyproject; an audit that cannot ask fails."""

import re
import tomllib

import pytest

pytest.importorskip("packaging")
import audit
import lock
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LINES = (lock.ROOT / "requirements-dev.lock").read_text("utf-8").splitlines()
LOCKED = dict(line.split("==") for line in LINES if not line.startswith("#"))


def test_every_dependency_of_pyproject_is_locked_at_a_version_that_it_takes() -> None:
    project = tomllib.loads((lock.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    texts = [*project["dependencies"], *(text for each in project["optional-dependencies"].values() for text in each)]
    wanted = [each for each in map(Requirement, texts) if canonicalize_name(each.name) != lock.OWN]
    assert len(wanted) > 25
    for each in wanted:
        version = LOCKED.get(canonicalize_name(each.name))
        assert version is not None, f"{each} is not in requirements-dev.lock: make lock"
        assert each.specifier.contains(version, prereleases=True), (str(each), version)


def test_the_lock_names_versions_and_nothing_else() -> None:
    names = [line for line in LINES if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][A-Za-z0-9.]*", line) for line in names)
    assert names == sorted(names, key=lambda line: line.partition("==")[0])
    assert not any("://" in line or line.startswith("-") for line in LINES)


@pytest.mark.parametrize(
    ("code", "err", "ended", "told"),
    [
        (0, "No known vulnerabilities found", 0, "No known vulnerabilities found"),
        (1, "Found 1 known vulnerability in 1 package", 1, "Found 1 known vulnerability in 1 package"),
        (
            1,
            "/usr/bin/python: No module named pip_audit",
            2,
            "audit: pip-audit is not installed, nothing was checked: ",
        ),
        (
            1,
            "requests.exceptions.ConnectionError: x",
            2,
            "audit: the advisories cannot be fetched, nothing was checked",
        ),
    ],
)
def test_an_audit_that_could_not_ask_fails_in_a_sentence(code: int, err: str, ended: int, told: str) -> None:
    found, text = audit.verdict(code, "", err)
    assert found == ended
    assert text.startswith(told)
