"""Another build beside this one: a git revision or a package version, installed into an environment of its own.

A revision brings its package with the versions that it depends on, or else those of its requirements.txt.
The environment sees every package of this one and hides only what the other build brings, so that both sides differ
in nothing else. It is kept by what it is made of and used again.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from filelock import FileLock

from engines.cache import cache_root
from harness.errors import UserError

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[^\]]*\])?\s*(==|~=|@|>=|<=|<|>).+")
_INSTALL_S = 1800.0
_TAIL = 3


@dataclass(frozen=True, slots=True)
class Build:
    """What is installed on one side of a check."""

    name: str
    """As it was asked for; `this` for the environment of this process."""
    interpreter: Path | None = None
    """Its Python, None for the one that runs this."""
    commit: str | None = None


def cache_folder() -> Path:
    """Where environments are kept."""
    return cache_root() / "builds"


def commit_of(revision: str = "HEAD", folder: Path = Path()) -> str | None:
    """The full name of a git revision in the repository around `folder`, None where there is none."""
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None


def build(against: str, *, folder: Path = Path(), cache: Path | None = None) -> Build:
    """The build that `against` names: a requirement such as rapidocr==3.9.0, or a git revision.

    The revision is one of the repository around `folder`, such as the user's own, not of this program's.
    Raises UserError where it does not exist or cannot be installed.
    """
    if against.startswith("-"):
        raise UserError(f"--against {against!r} is neither a git revision nor a requirement")
    if _REQUIREMENT.fullmatch(against):
        return packages([against], cache=cache)
    commit = commit_of(against, folder)
    if commit is None:
        raise UserError(
            f"--against {against!r} is no git revision of a repository around {folder.resolve()}; name one, "
            "or a package with its version such as rapidocr==3.9.0"
        )
    with tempfile.TemporaryDirectory(prefix="ocr-tune-source-") as scratch:
        source = Path(scratch) / "source"
        _export(commit, folder, source)
        interpreter = _environment(
            _to_install(source, commit), f"{folder.resolve()}@{commit}", cache or cache_folder(), source
        )
    return Build(against, interpreter, commit)


def packages(requirements: Sequence[str], *, cache: Path | None = None) -> Build:
    """The build with these exact versions of packages. Raises UserError."""
    name = " ".join(requirements)
    return Build(name, _environment(["--", *requirements], name, cache or cache_folder()))


def _export(commit: str, folder: Path, target: Path) -> None:
    top = _run(["git", "-C", str(folder), "rev-parse", "--show-toplevel"], "find the top of the repository")
    archive = target.with_name("source.tar")
    _run(
        ["git", "-C", top.strip(), "archive", "--format=tar", "-o", str(archive), commit], f"export {commit}"
    )
    try:
        with tarfile.open(archive) as files:
            files.extractall(target, filter="data")
    except tarfile.TarError as error:
        raise UserError(f"revision {commit[:12]} cannot be unpacked: {error}") from error


def _to_install(source: Path, commit: str) -> list[str]:
    """What pip is told to install of a revision: its package, else the requirements that it pins."""
    if (source / "setup.py").is_file() or _is_package(source / "pyproject.toml"):
        return ["--", str(source)]
    if (source / "requirements.txt").is_file():
        return ["--requirement", str(source / "requirements.txt")]
    raise UserError(
        f"revision {commit[:12]} has neither a package (pyproject.toml, setup.py) nor a requirements.txt at its top, "
        "so nothing of it can be installed; pin the package that you use instead, such as --against rapidocr==3.9.0"
    )


def _is_package(project: Path) -> bool:
    """Whether a pyproject.toml describes a package: many only hold the settings of tools."""
    try:
        found = tomllib.loads(project.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "project" in found or "build-system" in found


def _environment(wanted: Sequence[str], identity: str, cache: Path, folder: Path | None = None) -> Path:
    """The Python of the environment that has what is `wanted` on top of this one; `identity` says what that is.

    `wanted` ends the command line of `pip install`, which runs in `folder`.
    """
    facts = [identity, sys.prefix, sys.version, _modules_here(), _installed_here()]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    final = cache / key
    if not (final / ".complete").is_file():
        # Two checks at once must not fill one folder; the system frees the lock of one that is killed.
        with _lock(final):
            if not (final / ".complete").is_file():
                _fill(final, wanted, identity, folder)
    return final / "bin" / "python"


def _lock(final: Path) -> AbstractContextManager[object]:
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(final.with_suffix(".lock")).acquire()
    except OSError as error:
        raise UserError(f"cannot write to {final.parent}: {error.strerror}; choose another cache") from error


def _fill(final: Path, wanted: Sequence[str], identity: str, folder: Path | None) -> None:
    shutil.rmtree(final, ignore_errors=True)
    try:
        _create(final)
        _install(final / "bin" / "python", wanted, identity, folder)
    except BaseException:
        shutil.rmtree(final, ignore_errors=True)
        raise
    (final / ".complete").write_text(identity, encoding="utf-8")


def _create(root: Path) -> None:
    try:
        venv.create(root, with_pip=False, symlinks=True)
    except OSError as error:
        raise UserError(f"cannot make an environment in {root}: {error.strerror}") from error
    python = root / "bin" / "python"
    question = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(_run([str(python), "-c", question], "start the new environment").strip())
    lines = [f"import site; site.addsitedir({path!r})" for path in _sites()]
    (own / "base.pth").write_text("\n".join([*lines, *_modules_here(), ""]), encoding="utf-8")


def _install(python: Path, wanted: Sequence[str], identity: str, folder: Path | None) -> None:
    if importlib.util.find_spec("pip"):
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        command += ["--disable-pip-version-check", "--no-input"]
    elif uv := shutil.which("uv"):
        command = [uv, "pip", "install", "--quiet", "--python", str(python)]
    else:
        raise UserError("--against installs packages, and here is neither pip nor uv: install one of them")
    _run([*command, *wanted], f"install {identity}", folder)


def _sites() -> list[str]:
    return list(dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))


def _modules_here() -> list[str]:
    """Folders of PYTHONPATH, which the environment searches last."""
    return [
        str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry
    ]


def _installed_here() -> list[str]:
    """Names of what is installed here: with other packages below it, an environment is another one."""
    return sorted(path.name for site in _sites() for path in Path(site).glob("*.dist-info"))


def _run(command: Sequence[str], moment: str, folder: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_INSTALL_S,
            env=environment,
            cwd=folder,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"could not {moment}: {error}") from error
    if done.returncode:
        said = " ".join(done.stderr.split("\n")[-_TAIL - 1 :]).strip()
        raise UserError(f"could not {moment}: {said or f'exit status {done.returncode}'}")
    return done.stdout


def changed_since(recorded: dict[str, str], names: Sequence[str]) -> list[str]:
    """Requirements that bring back the recorded versions of those packages that have another version now."""
    changed = []
    for name in names:
        try:
            now = distribution(name).version
        except PackageNotFoundError:
            continue
        if name in recorded and recorded[name] != now:
            changed.append(f"{name}=={recorded[name]}")
    return changed
