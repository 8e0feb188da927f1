"""Wheels and repositories of a few lines, installable without network."""

import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

BACKEND = """
import zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "{file}-1.0-py3-none-any.whl"
    facts = "{file}-1.0.dist-info"
    with zipfile.ZipFile(f"{{folder}}/{{name}}", "w") as wheel:
        wheel.write("{module}.py")
        wheel.writestr(f"{{facts}}/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        wheel.writestr(f"{{facts}}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{{facts}}/entry_points.txt", {entry_points!r})
        wheel.writestr(f"{{facts}}/RECORD", "")
    return name
"""


def wheel(folder: Path, name: str, version: str, files: Mapping[str, str], entry_points: str = "") -> Path:
    """A wheel in `folder`, for `pip --no-index --find-links`."""
    stem = f"{name.replace('-', '_')}-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        facts = f"{stem}.dist-info"
        archive.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{facts}/entry_points.txt", entry_points)
        archive.writestr(f"{facts}/RECORD", "")
    return folder / f"{stem}-py3-none-any.whl"


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def repository(folder: Path, name: str, module: str, entry_points: str = "") -> Path:
    """A repository without a commit whose package is the file `module`.py."""
    folder.mkdir()
    git(folder, "init", "-q")
    file = name.replace("-", "_")
    (folder / "backend.py").write_text(
        BACKEND.format(file=file, module=module, name=name, entry_points=entry_points)
    )
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    return folder


def commit(folder: Path, path: str, text: str, tag: str = "") -> None:
    (folder / path).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", f"change {path}")
    if tag:
        git(folder, "tag", tag)
