"""Other builds: each in an environment that differs from this one in what was asked for alone."""

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.check.builds import Build, build, changed_since, packages
from harness.errors import UserError
from tests.harness.check.packaging import commit, git, repository, wheel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository whose package has two revisions; the first is tagged."""
    made = repository(tmp_path / "repository", "tested-ocr", "tested_ocr")
    commit(made, "tested_ocr.py", "answer = 1\n", tag="v1")
    commit(made, "tested_ocr.py", "answer = 2\n")
    return made


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, instead of the network."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    for number in (1, 2):
        wheel(tmp_path / "wheels", "tested-ocr", f"{number}.0", {"tested_ocr.py": f"answer = {number}\n"})
    return tmp_path / "wheels"


def answer(built: Build) -> list[str]:
    """What the build's module says, and the version of a package that only this environment has."""
    assert built.interpreter
    question = "import tested_ocr, numpy; print(tested_ocr.answer, numpy.__version__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(built.interpreter), "-P", "-c", question]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()


def test_a_git_revision_is_installed_beside_this_build_and_kept(folder: Path, tmp_path: Path) -> None:
    built = build("v1", folder=folder, cache=tmp_path / "cache")
    assert answer(built) == ["1", version("numpy")]
    assert build("v1", folder=folder, cache=tmp_path / "cache") == built
    assert build("HEAD", folder=folder, cache=tmp_path / "cache").interpreter != built.interpreter


def test_a_package_version_is_installed_beside_this_build(wheels: Path, tmp_path: Path) -> None:
    first, second = (build(f"tested-ocr=={n}.0", cache=tmp_path / "cache") for n in (1, 2))
    assert answer(first) == ["1", version("numpy")]
    assert answer(second) == ["2", version("numpy")]


def test_a_revision_without_a_package_brings_the_requirements_that_it_pins(
    wheels: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pins"
    folder.mkdir()
    git(folder, "init", "-q")
    commit(folder, "pyproject.toml", "[tool.ruff]\n")
    commit(folder, "requirements.txt", "tested-ocr==1.0\n", tag="good")
    commit(folder, "requirements.txt", "tested-ocr==2.0\n")
    assert answer(build("good", folder=folder, cache=tmp_path / "cache"))[0] == "1"
    assert answer(build("HEAD", folder=folder, cache=tmp_path / "cache"))[0] == "2"


def test_a_revision_with_nothing_to_install_is_refused_with_the_remedy(folder: Path, tmp_path: Path) -> None:
    git(folder, "rm", "-q", "pyproject.toml")
    commit(folder, "notes", "")
    with pytest.raises(UserError, match=r"neither a package .* nor a requirements\.txt"):
        build("HEAD", folder=folder, cache=tmp_path / "cache")


@pytest.mark.parametrize("against", ["nonesuch", "--upload-pack=x", "v1;touch x"])
def test_a_build_that_does_not_exist_is_refused(folder: Path, tmp_path: Path, against: str) -> None:
    with pytest.raises(UserError, match="--against"):
        build(against, folder=folder, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_version_that_nobody_offers_is_bad_input_and_leaves_no_environment(
    wheels: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"could not install tested-ocr==9\.0"):
        packages(["tested-ocr==9.0"], cache=tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_only_packages_of_another_version_are_brought_back() -> None:
    recorded = {"numpy": version("numpy"), "scipy": "1.0", "nonesuch-package": "1.0", "pillow": "1.0"}
    assert changed_since(recorded, ["numpy", "scipy", "nonesuch-package", "pytest"]) == ["scipy==1.0"]
