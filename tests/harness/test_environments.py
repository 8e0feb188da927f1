"""Engines in environments of their own: real interpreters, real workers, packages that exclude each other."""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL
import pytest

from engines import registry
from harness import describe, environments
from harness.cli.app import run
from harness.config import TunedConfig, load, to_yaml
from harness.errors import UserError
from harness.machine import detect, fingerprint
from harness.session import Session
from harness.space import Space
from tests.pages import page_set

MACHINE = detect()
ENGINE = '''
"""An engine that runs beside one version of a package only."""
from contextlib import contextmanager
from engines.interface import Choice, Knob, Line, Ordered, PageText, UnsupportedError
from importlib.metadata import version

def summary(): return "Reads with clashing {needs}; Apache-2.0."
def packages(): return ("clashing",)
def unusable(machine): return None
def knobs(machine):
    return (
        Knob("level", "recognise", Ordered((1, 2, machine.cores + 2)), 1, "a number of its own"),
        Knob("scale", "detect", Ordered((0.5, 1.0), low=0.25), 1.0, "a fraction of its own"),
        Knob("mode", "detect", Choice(("a", True, 3), open=True), "a", "words", when={{"level": (1,)}}),
    )
def fetch():
    print("a library that chatters on stdout")
    yield "fetched a file"

@contextmanager
def open(settings, device, timer):
    import clashing
    if clashing.VERSION != "{needs}":
        raise UnsupportedError("clashing {needs} is needed")
    yield Reader()

class Reader:
    def read(self, pages):
        import clashing
        return [PageText((Line(f"clashing {{clashing.VERSION}}"),)) for _ in pages]
'''

Configure = Callable[..., None]


def environment(folder: Path, name: str, version: str) -> Path:
    """A virtual environment with one engine and the version of a package that it needs; returns its interpreter."""
    venv.create(folder, symlinks=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    for package in (Path(np.__file__).parent, Path(PIL.__file__).parent):
        for found in (
            package,
            package.parent / f"{package.name.lower()}.libs",
            package.parent / "pillow.libs",
        ):
            if found.exists() and not (site / found.name).exists():
                (site / found.name).symlink_to(found)
    for distribution, files in (
        ("clashing", {"METADATA": f"Metadata-Version: 2.1\nName: clashing\nVersion: {version}\n"}),
        (
            name,
            {
                "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
                "entry_points.txt": f"[ocr_tune.engines]\n{name} = {name}_engine\n",
            },
        ),
    ):
        info = site / f"{distribution}-1.dist-info"
        info.mkdir()
        for file, text in files.items():
            (info / file).write_text(text)
    (site / "clashing.py").write_text(f"VERSION = {version!r}\n")
    (site / f"{name}_engine.py").write_text(ENGINE.format(needs=version))
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def interpreters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("environments")
    return {
        name: environment(root / name, name, version) for name, version in (("old", "1.0"), ("new", "2.0"))
    }


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Write the user's configuration file and let it be read anew."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    environments.user_config.cache_clear()

    def write(text: str, path: Path = tmp_path / "ocr-tune.toml") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        environments.user_config.cache_clear()

    yield write
    environments.user_config.cache_clear()


def entries(interpreters: dict[str, Path]) -> str:
    return "".join(
        f"[engines.{name}]\npython = {json.dumps(str(path))}\n" for name, path in interpreters.items()
    )


def test_two_engines_that_exclude_each_other_read_in_one_run(
    configure: Configure, interpreters: dict[str, Path], tmp_path: Path
) -> None:
    configure(entries(interpreters))
    pages, _ = page_set(tmp_path / "pages", 2)
    for name, version in (("old", "1.0"), ("new", "2.0")):
        variant = Space.of(name, "cpu", MACHINE).variant({"replicas": 1})
        with Session(variant, pages, tmp_path / name, MACHINE, sample_counters=False) as session:
            session.start([0], 60.0)
            block = session.read([0, 1], 60.0)
        assert [page.text for page in block.pages] == [f"clashing {version}"] * 2
    assert not {"clashing", "old_engine", "new_engine"} & set(sys.modules)


def test_an_engine_is_described_as_it_is_in_its_own_environment(
    configure: Configure, interpreters: dict[str, Path]
) -> None:
    configure(entries(interpreters))
    engine = environments.find("new", MACHINE)
    assert engine.summary() == "Reads with clashing 2.0; Apache-2.0."
    assert engine.unusable(MACHINE) is None
    versions = environments.versions_of(engine)
    assert versions.pop("python").startswith("3.")
    assert versions == {"clashing": "2.0"}
    level, scale, mode = engine.knobs(MACHINE)
    assert level.domain.values == (1, 2, MACHINE.cores + 2)
    assert repr(scale.domain) == "Ordered(values=(0.5, 1.0), low=0.25, high=None)"
    assert repr(mode.domain) == "Choice(values=('a', True, 3), open=True)"
    assert mode.when == {"level": (1,)}
    assert list(environments.fetch("new") or ()) == ["fetched a file"]


def test_weights_that_change_are_another_machine_to_a_search(
    scripted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = environments.find(scripted, MACHINE)
    without = environments.recorded(engine)
    assert describe.WEIGHTS not in without
    digests = []
    for weights in ({"a.onnx": "1", "b.onnx": "2"}, {"b.onnx": "2", "a.onnx": "1"}, {"a.onnx": "2"}):
        monkeypatch.setattr(engine, "checksums", lambda found=weights: found, raising=False)
        facts = environments.recorded(engine)
        digests.append(fingerprint(MACHINE, facts))
        facts.pop(describe.WEIGHTS)
        assert facts == without
    assert digests[0] == digests[1] != digests[2]


def test_a_fetch_that_fails_says_why(
    configure: Configure, interpreters: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    configure(f"[engines.absent]\npython = {json.dumps(str(interpreters['old']))}\n")
    assert run(["engines", "--fetch", "absent"]) == 2
    assert "no engine there has the name 'absent'" in capsys.readouterr().err
    configure("[engines.old]\npython = '/nowhere/python'\n")
    assert run(["engines", "--fetch", "old"]) == 2
    assert "/nowhere/python cannot be started: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("name", registry.names())
def test_what_an_engine_offers_survives_the_way_through_json(name: str) -> None:
    engine = registry.load(name)
    answers = json.loads(json.dumps(describe.answers(name, MACHINE)))
    read = environments._ANSWERS.validate_python(answers)
    knobs = engine.knobs(MACHINE)
    assert read.knobs == knobs
    # 1, 1.0 and True are equal, yet not the same setting.
    assert [repr((k.default, k.domain.values)) for k in read.knobs] == [
        repr((k.default, k.domain.values)) for k in knobs
    ]
    assert read.unusable == engine.unusable(MACHINE)
    assert read.absent == registry.absent(engine, MACHINE)


def test_the_list_of_engines_names_their_interpreters(
    configure: Configure, interpreters: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    configure(entries(interpreters))
    assert run(["engines", "--json"]) == 0
    rows = {row["engine"]: row for row in json.loads(capsys.readouterr().out)["engines"]}
    assert rows["old"]["python"] == str(interpreters["old"])
    assert rows["old"]["versions"]["clashing"] == "1.0"
    assert rows["tesseract"]["python"] is None
    assert rows["ppocr"]["absent"] == registry.absent(registry.load("ppocr"), detect())


def test_a_tuned_config_of_such_an_engine_is_not_opened_in_this_process(
    configure: Configure, interpreters: dict[str, Path], tmp_path: Path
) -> None:
    configure(entries(interpreters))
    path = tmp_path / "best.yaml"
    path.write_text(to_yaml(TunedConfig(engine="old", device="cpu", settings={"level": 1, "scale": 1.0})))
    with pytest.raises(UserError, match="runs under"), load(path, MACHINE):
        pass


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("/nowhere/bin/python", "cannot be started: No such file"),
        ("folder", "cannot be started"),
        ("/bin/false", "failed: no message"),
        ("/bin/echo", "did not answer as an engine does"),
    ],
)
def test_a_broken_interpreter_is_one_sentence(
    configure: Configure, python: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    configure(f"[engines.old]\npython = {json.dumps(python)}\n")
    assert run(["--engine", "old"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert reason in message
    assert "engines.old.python" in message


def test_an_environment_without_the_engine_says_so(
    configure: Configure, interpreters: dict[str, Path]
) -> None:
    configure(f"[engines.absent]\npython = {json.dumps(str(interpreters['old']))}\n")
    reason = environments.find("absent", MACHINE).unusable(MACHINE)
    assert reason and "no engine there has the name 'absent'" in reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[engines.old]\npyton = 'x'\n", "engines.old"),
        ("[engine.old]\npython = 'x'\n", "engine"),
        ("[engines.old]\npython = 3\n", "engines.old.python"),
        ("[engines.old\n", "not TOML"),
    ],
)
def test_a_configuration_with_a_mistake_is_refused(configure: Configure, text: str, said: str) -> None:
    configure(text)
    with pytest.raises(UserError, match=said) as refused:
        environments.user_config()
    assert "\n" not in str(refused.value)


def test_the_working_directory_wins_over_the_home_and_paths_are_seen_from_the_file(
    configure: Configure, tmp_path: Path
) -> None:
    home = tmp_path / "home" / "ocr-tune" / "config.toml"
    configure("[engines.old]\npython = 'venv/bin/python'\n", home)
    assert environments.interpreter("old") == home.parent / "venv" / "bin" / "python"
    configure("[engines.new]\npython = '/opt/python'\n")
    assert environments.interpreter("old") is None
    assert environments.interpreter("new") == Path("/opt/python")


def test_an_engine_given_this_very_interpreter_runs_as_any_other(configure: Configure) -> None:
    configure(f"[engines.tesseract]\npython = {json.dumps(sys.executable)}\n")
    assert environments.interpreter("tesseract") is None


def test_the_other_environment_sees_no_package_of_this_one(interpreters: dict[str, Path]) -> None:
    arguments = environments._command_elsewhere(interpreters["old"], "harness.describe", "rapidocr", "{}")
    script = "import importlib.util as u, json; print(json.dumps([u.find_spec('pydantic') is None]))"
    python = arguments[:2]
    answer = subprocess.run([*python, "-c", script], capture_output=True, check=True, env=dict(os.environ))
    assert json.loads(answer.stdout) == [True]
    machine = describe.machine_json(MACHINE)
    arguments = environments._command_elsewhere(interpreters["old"], "harness.describe", "rapidocr", machine)
    found = json.loads(subprocess.run(arguments, capture_output=True, check=True).stdout)
    assert "not installed" in found["unusable"]
