"""The files that repeat a package, a module or the version agree with pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def requirements(name: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in read(name).splitlines())
    return [line for line in lines if line]


def test_requirements_extra_lists_the_extras():
    extras = PYPROJECT["project"]["optional-dependencies"]
    assert list(extras) == ["app", "export", "dev"]
    listed = [requirement for extra in extras.values() for requirement in extra]
    assert listed == requirements("requirements-extra.txt")


def test_every_root_module_is_packaged_and_measured():
    modules = {path.stem for path in ROOT.glob("*.py")}
    assert set(PYPROJECT["tool"]["setuptools"]["py-modules"]) == modules
    assert set(PYPROJECT["tool"]["coverage"]["run"]["source_pkgs"]) == modules | {"captioning"}


def test_the_version_is_the_same_everywhere():
    version = PYPROJECT["project"]["version"]
    assert f"\nversion: {version}\n" in read("CITATION.cff")
    assert re.search(r"^## (.+)$", read("CHANGELOG.md"), re.MULTILINE)[1] == version


@pytest.mark.parametrize("file", ["Dockerfile", "tools/make_space.py", ".pre-commit-config.yaml"])
def test_lower_bounds_repeated_elsewhere_agree(file):
    known = requirements("requirements.txt") + requirements("requirements-extra.txt")
    bounds = dict(re.split(">=|==", requirement) for requirement in known)
    repeated = re.findall(r"\b([a-z][a-z-]*)>=([\d.]+)", read(file))
    assert repeated
    for name, bound in repeated:
        assert bounds[name.removesuffix("-headless")] == bound, name
