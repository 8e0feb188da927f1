"""What docTR and OnnxTR share: architectures, where weights lie, and the document that comes out.

Both are by the same authors and have one API. What the installed version offers is read out of its source, so
that no question about it imports the library: each `zoo.py` lists architectures in `ARCHS`, and the module of each
architecture has its address in `default_cfgs`.
"""

import ast
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from engines import weights
from engines.interface import (
    Box,
    Choice,
    Knob,
    Line,
    Ordered,
    PageText,
    Setting,
    Settings,
    Stage,
    StageTimer,
    UnsupportedError,
)

Part = Literal["detection", "recognition", "classification", "layout", "table_structure"]
DEFAULTS: Mapping[Part, str] = {"detection": "fast_base", "recognition": "crnn_vgg16_bn"}
ORIENTATION = ("mobilenet_v3_small_crop_orientation", "mobilenet_v3_small_page_orientation")
_FILE_NAME = re.compile(r"[\w.]+-(?P<sha256>[0-9a-f]{8,})\.\w+$")
# The knob's name in front, where it is not that of the library's argument.
_ARGUMENTS = (
    "assume_straight_pages",
    "det_bs",
    "reco_bs",
    "disable_crop_orientation",
    "disable_page_orientation",
)


@dataclass(frozen=True, slots=True)
class Weight:
    """A file of weights at its address; its name ends in the first digits of its SHA-256."""

    library: str
    url: str

    @property
    def file(self) -> Path:
        """Where the library's own cache keeps it."""
        home = os.environ.get(f"{self.library.upper()}_CACHE_DIR") or Path.home() / ".cache" / self.library
        return Path(home) / "models" / self.url.rpartition("/")[-1].split("&")[0]

    @property
    def sha256(self) -> str:
        """The digits in its name."""
        found = _FILE_NAME.match(self.file.name)
        if found is None:
            raise UnsupportedError(f"{self.library}: {self.url} names no checksum")
        return found["sha256"]

    def check(self) -> None:
        """Raises UnsupportedError where the file is missing, or is not what its name says."""
        if not self.file.is_file():
            raise UnsupportedError(
                f"weights of {self.file.stem} are not on this machine; {remedy(self.library)}"
            )
        if not weights.sha256_of(self.file).startswith(self.sha256):
            raise UnsupportedError(f"{self.file} has a wrong checksum: delete it and {remedy(self.library)}")


def remedy(library: str) -> str:
    """What brings the weights."""
    return f"run `tune engines --fetch {library}` where the network allows"


@cache
def architectures(library: str, part: Part) -> tuple[str, ...]:
    """What the installed version offers, in its own order; the defaults alone where it is not installed."""
    if part == "classification":
        return ORIENTATION
    for tree in _sources(library, f"{part}/zoo.py"):
        for node in ast.walk(tree):
            if (value := _assigned(node, "ARCHS")) is not None:
                return tuple(ast.literal_eval(value))
    return (DEFAULTS[part],) if part in DEFAULTS else ()


@cache
def addresses(library: str, part: Part, key: str = "url") -> Mapping[str, Weight]:
    """The weights of every architecture that has some, by name; `url_8_bit` is OnnxTR's other set."""
    found = {}
    for tree in _sources(library, f"{part}/**/*.py"):
        for node in ast.walk(tree):
            configs = _assigned(node, "default_cfgs")
            if not isinstance(configs, ast.Dict):
                continue
            for name, config in zip(configs.keys, configs.values, strict=True):
                url = _entry(config, key)
                if isinstance(name, ast.Constant) and url is not None:
                    found[str(name.value)] = Weight(library, url)
    return {name: found[name] for name in architectures(library, part) if name in found}


def _sources(library: str, pattern: str) -> Iterator[ast.Module]:
    spec = find_spec(library)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        for path in sorted(Path(folder, "models").glob(pattern)):
            yield ast.parse(path.read_text(encoding="utf-8"))


def _assigned(node: ast.AST, name: str) -> ast.expr | None:
    """The value that this statement gives to `name`, if it does."""
    if isinstance(node, ast.AnnAssign):
        targets: Sequence[ast.expr] = (node.target,)
    else:
        targets = node.targets if isinstance(node, ast.Assign) else ()
    named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
    return node.value if named and isinstance(node, ast.Assign | ast.AnnAssign) else None


def _entry(config: ast.expr, key: str) -> str | None:
    if not isinstance(config, ast.Dict):
        return None
    for name, value in zip(config.keys, config.values, strict=True):
        if isinstance(name, ast.Constant) and name.value == key and isinstance(value, ast.Constant):
            return value.value if isinstance(value.value, str) else None
    return None


def default(library: str, part: Part) -> str:
    """What `det_arch` or `reco_arch` is unless it is set: as shipped, or what the user's environment names."""
    return os.environ.get(_variable(library, part)) or DEFAULTS[part]


def _variable(library: str, part: Part) -> str:
    return f"{library}_{'det' if part == 'detection' else 'reco'}_arch".upper()


def chosen(library: str, part: Part, setting: Setting) -> tuple[str, Path | None]:
    """The architecture that `ARCH` or `ARCH=PATH` names, and the file of the user's own weights.

    Raises UnsupportedError where there is no such architecture or file.
    """
    name, _, path = str(setting).partition("=")
    if name not in architectures(library, part):
        known = ", ".join(architectures(library, part))
        raise UnsupportedError(f"{library} has no {part} architecture {name!r}; choose one of {known}")
    own = Path(path).expanduser() if path else None
    if own is not None and not own.is_file():
        raise UnsupportedError(f"there are no weights of {name} at {own}; name a file that exists")
    return name, own


def missing_defaults(library: str) -> str | None:
    """Why the library cannot run by default: its weights are not here. None where they are."""
    absent = []
    for part in DEFAULTS:
        try:
            name, own = chosen(library, part, default(library, part))
        except UnsupportedError as error:
            return f"{error} ({_variable(library, part)})"
        weight = addresses(library, part).get(name)
        if own is None and (weight is None or not weight.file.is_file()):
            absent.append(name)
    if not absent:
        return None
    own_files = " and ".join(f"{_variable(library, part)}=ARCH=PATH" for part in DEFAULTS)
    return (
        f"weights of {' and '.join(absent)} are not on this machine; {remedy(library)}, "
        f"or set {own_files} to files of your own"
    )


def fetch(library: str, key: str = "url") -> Iterator[str]:
    """Bring the weights of every architecture into the library's cache; a sentence for each.

    Raises UnsupportedError at the first that the network does not bring.
    """
    for part in ("detection", "recognition", "classification"):
        for weight in addresses(library, part, key).values():
            if weight.file.is_file():
                yield f"{weight.file.stem} is here: {weight.file}"
                continue
            try:
                weights.download(weight.url, weight.sha256, weight.file)
            except (weights.SourceError, OSError) as error:
                raise UnsupportedError(
                    f"could not fetch {weight.file.stem} from {weight.url}: {error}; "
                    f"check the network, or download it by hand to {weight.file.parent}"
                ) from error
            yield f"{weight.file.stem} fetched from {weight.url}"


def needed(library: str, settings: Settings, key: str = "url") -> tuple[Path, Path]:
    """The files of the detector and the reader that settings name, the user's own or the library's.

    Raises UnsupportedError where one, or one that finds directions, is missing or is not what its name says.
    """
    parts: tuple[tuple[Part, Setting], ...] = (
        ("detection", settings["det_arch"]),
        ("recognition", settings["reco_arch"]),
    )
    files = []
    for part, setting in parts:
        name, own = chosen(library, part, setting)
        if own is None:
            # FAST has no 8-bit weights: the library takes the others.
            weight = addresses(library, part, key).get(name) or addresses(library, part)[name]
            weight.check()
            own = weight.file
        files.append(own)
    for name in _directions(library, settings):
        addresses(library, "classification")[name].check()
    detector, reader = files
    return detector, reader


def _directions(library: str, settings: Settings) -> tuple[str, ...]:
    """The models that turn words and pages upright, as far as the library loads them."""
    if settings["assume_straight_pages"]:
        return ()
    words, pages = settings["disable_crop_orientation"], settings["disable_page_orientation"]
    disabled = (words, words if library == "onnxtr" else pages)  # OnnxTR 0.9 looks at the one switch for both
    return tuple(name for name, off in zip(ORIENTATION, disabled, strict=True) if not off)


def knobs(library: str, reco_bs: int) -> tuple[Knob, ...]:
    """What both libraries offer. Only architectures whose weights are here are offered, if any are."""
    batches = Ordered((1, 2, 4, 8), high=64)
    lines = Ordered((1, 4, 16, 32, 64, 128, 256, 512), high=4096)
    reads, either = partial(Knob, changes_text=True), Choice((False, True))
    rotated = partial(reads, when={"assume_straight_pages": (False,)})
    return (
        _model_knob(library, "detection"),
        _model_knob(library, "recognition"),
        reads("det_bs", "detect", batches, 2, "pages in one batch"),
        reads("reco_bs", "recognise", lines, reco_bs, "words in one batch"),
        reads("assume_straight_pages", "detect", either, True, "boxes are upright: no rotation is looked for"),
        rotated("disable_crop_orientation", "crop", either, False, "words are not turned upright"),
        rotated("disable_page_orientation", "crop", either, False, "pages are not turned upright"),
    )  # fmt: skip


def _model_knob(library: str, part: Part) -> Knob:
    shipped = default(library, part)
    here = [name for name, weight in addresses(library, part).items() if weight.file.is_file()]
    offered = here if shipped in here else architectures(library, part)
    # Where the environment names own weights, the others are no alternative to them.
    choice = Choice((shipped,)) if "=" in shipped else Choice(tuple(offered), open=True)
    help_ = f"{part} model; ARCH=PATH names weights of your own"
    if part == "detection":
        return Knob("det_arch", "detect", choice, shipped, help_, changes_text=True)
    return Knob("reco_arch", "recognise", choice, shipped, help_, changes_text=True)


def arguments(settings: Settings) -> dict[str, Setting]:
    """The arguments of `ocr_predictor` that both libraries take as they are."""
    return {name: settings[name] for name in _ARGUMENTS if name in settings}


def timed(call: Callable[..., Any], timer: StageTimer, stage: Stage) -> Callable[..., Any]:
    """The call, with its time told to `stage`."""

    def measured(*args: Any, **kwargs: Any) -> Any:
        with timer.stage(stage):
            return call(*args, **kwargs)

    return measured


class WordReader:
    """Reads with a predictor of either library: a list of (height, width, 3) arrays in, a document out."""

    def __init__(self, predictor: Callable[[list[Any]], Any], timer: StageTimer) -> None:
        self._predictor = predictor
        self._timer = timer

    def read(self, pages: Sequence[Any]) -> list[PageText]:
        """All pages in one call, whose words share batches."""
        if not pages:
            return []
        known = self._timer.take()
        start = time.perf_counter()
        document = self._predictor([page.pixels for page in pages])
        wall_s = time.perf_counter() - start
        stages = self._timer.take()
        for name in {*known, *stages}:
            self._timer.add(name, known.get(name, 0.0) + stages.get(name, 0.0))  # type: ignore[arg-type]
        self._timer.add(
            "crop", max(0.0, wall_s - sum(stages.values()))
        )  # with directions and the order of lines
        with self._timer.stage("postprocess"):
            return [_text(page) for page in document.pages]


def _text(page: Any) -> PageText:
    """The library's lines in its own order."""
    height, width = page.dimensions
    return PageText(
        tuple(
            Line(
                " ".join(word.value for word in line.words),
                _box(line.geometry, width, height),
                sum(float(word.confidence) for word in line.words) / len(line.words),
            )
            for block in page.blocks
            for line in block.lines
            if any(word.value.strip() for word in line.words)
        )
    )


def _box(geometry: Any, width: int, height: int) -> Box:
    """Two corners, or four where pages may be rotated, both relative to the page: four in pixels."""
    points = np.asarray(geometry, float)
    if len(points) == 2:
        (left, top), (right, bottom) = points
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    a, b, c, d = (np.clip(points, 0, 1) * (width, height)).tolist()
    return (tuple(a), tuple(b), tuple(c), tuple(d))
