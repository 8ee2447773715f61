"""The files that install the kit agree with each other and with what the package imports."""

import ast
import re
import sys
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from alignsd import __version__
from alignsd.base.paths import root

PROJECT = tomllib.loads((root() / "pyproject.toml").read_text())["project"]
DIRECT = [
    Requirement(r)
    for r in PROJECT["dependencies"] + sum(PROJECT["optional-dependencies"].values(), [])
]
PINS = [
    line
    for line in (root() / "requirements.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
PINNED = {
    canonicalize_name(line.split("==")[0]): line.split("==")[1].split(";")[0].strip()
    for line in PINS
}


def test_pins_are_exact_and_name_no_host_and_no_folder():
    assert [line for line in PINS if not re.fullmatch(r"[\w.-]+==[\w.]+( ; [^/@]+)?", line)] == []
    assert len(PINNED) == len(PINS)


def test_each_range_contains_its_pin():
    assert [
        r.name for r in DIRECT if Version(PINNED[canonicalize_name(r.name)]) not in r.specifier
    ] == []


def test_conda_users_get_the_same_versions():
    environment = yaml.safe_load((root() / "environment.yml").read_text())
    (listed,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert sorted(listed) == sorted(
        f"{r.name}=={PINNED[canonicalize_name(r.name)]}" for r in DIRECT
    )


def test_everything_that_direct_dependencies_need_is_pinned():
    needed = {
        canonicalize_name(r.name)
        for name in PINNED
        if (d := _installed(name))
        for r in map(Requirement, d.requires or [])
        if r.marker is None or r.marker.evaluate({"extra": ""})
    }
    assert needed - set(PINNED) == set()


def test_every_import_is_declared():
    providers = metadata.packages_distributions()
    declared = {canonicalize_name(r.name) for r in DIRECT}
    tests = list((root() / "tests").rglob("*.py"))
    benchmarks = list((root() / "benchmarks").glob("*.py"))
    names = [name for path in tests for name in (path.stem, path.parent.name)]
    ours = {"alignsd", "benchmarks", *names}
    for path in [*(root() / "alignsd").rglob("*.py"), *benchmarks, *tests]:
        for module in _imports(path) - ours - set(sys.stdlib_module_names):
            distributions = {canonicalize_name(d) for d in providers.get(module, [])}
            assert distributions & declared, f"{path.name} imports {module}"


def test_versions_and_licence_agree():
    citation = yaml.safe_load((root() / "CITATION.cff").read_text())
    assert (
        citation["version"] == __version__
        and citation["license"] == PROJECT["license"] == "Apache-2.0"
    )
    assert "Apache License" in (root() / "LICENSE").read_text()


@pytest.mark.parametrize("target", ["help", "demo", "test", "browser", "lab", "figures", "clean"])
def test_makefile_describes_each_target(target):
    assert re.search(rf"^{target}:.*## \w+", (root() / "Makefile").read_text(), flags=re.MULTILINE)


def _imports(path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    return {
        name.split(".")[0]
        for name in plain
        | {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level == 0}
    }


def _installed(name: str):
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
