"""RapidOCR's own configuration file: `RapidOCR(config_path=FILE)`."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from engines.interface import Setting
from harness.config import TunedConfig
from harness.errors import UserError

_VERSIONS = {"v4": "PP-OCRv4", "v5": "PP-OCRv5", "v6": "PP-OCRv6"}


def _model(part: str) -> Callable[[Setting], dict[str, Setting]]:
    def parameters(value: Setting) -> dict[str, Setting]:
        version, _, size = str(value).partition("_")
        if version not in _VERSIONS:
            return {f"{part}.model_path": value}
        return {f"{part}.ocr_version": _VERSIONS[version], f"{part}.model_type": size}

    return parameters


def _as(*names: str) -> Callable[[Setting], dict[str, Setting]]:
    return lambda value: dict.fromkeys(names, value)


_ONNXRUNTIME = "EngineConfig.onnxruntime"
_PARAMETERS: Mapping[str, Mapping[str, Callable[[Setting], dict[str, Setting]]]] = {
    "ppocr": {
        "max_side": _as("Global.max_side_len"),
        "text_score": _as("Global.text_score"),
        "use_cls": _as("Global.use_cls"),
        "cls_batch": _as("Cls.cls_batch_num"),
        "det_model": _model("Det"),
        "det_runtime": _as("Det.engine_type"),
        "det_side": _as("Det.limit_side_len"),
        "det_limit_type": _as("Det.limit_type"),
        "det_box_thresh": _as("Det.box_thresh"),
        "det_unclip_ratio": _as("Det.unclip_ratio"),
        "det_dilation": _as("Det.use_dilation"),
        "det_score_mode": _as("Det.score_mode"),
        "rec_model": _model("Rec"),
        "rec_runtime": _as("Rec.engine_type"),
        "rec_batch": _as("Rec.rec_batch_num"),
        "rec_min_width": lambda value: {"Rec.rec_img_shape": [3, 48, value]},  # type: ignore[dict-item]
        "rec_threads": lambda value: {
            f"{_ONNXRUNTIME}.intra_op_num_threads": value or -1,
            "EngineConfig.openvino.inference_num_threads": value or -1,
        },
        "rec_arena": _as(f"{_ONNXRUNTIME}.enable_cpu_mem_arena"),
    },
    "rapidocr": {
        "max_side_len": _as("Global.max_side_len"),
        "text_score": _as("Global.text_score"),
        "use_cls": _as("Global.use_cls"),
        "engine_type": _as("Det.engine_type", "Cls.engine_type", "Rec.engine_type"),
        "det_limit_type": _as("Det.limit_type"),
        "det_limit_side_len": _as("Det.limit_side_len"),
        "det_box_thresh": _as("Det.box_thresh"),
        "det_unclip_ratio": _as("Det.unclip_ratio"),
        "rec_batch_num": _as("Rec.rec_batch_num"),
        "rec_img_width": lambda value: {"Rec.rec_img_shape": [3, 48, value]},  # type: ignore[dict-item]
        "intra_op_num_threads": _as(f"{_ONNXRUNTIME}.intra_op_num_threads"),
        "inter_op_num_threads": _as(f"{_ONNXRUNTIME}.inter_op_num_threads"),
        "enable_cpu_mem_arena": _as(f"{_ONNXRUNTIME}.enable_cpu_mem_arena"),
        "inference_num_threads": _as("EngineConfig.openvino.inference_num_threads"),
    },
}


def export(config: TunedConfig) -> str:
    """RapidOCR's config.yaml with the tuned settings; those that RapidOCR lacks stand as comments.

    Raises UserError for an engine that is no PP-OCR, and where RapidOCR, whose defaults fill the rest, is missing.
    """
    if config.engine not in _PARAMETERS:
        raise UserError(
            f"a config of {config.engine} cannot be written for rapidocr; only ppocr and rapidocr can"
        )
    known = _PARAMETERS[config.engine]
    document = _shipped()
    lacking = []
    for name, value in config.settings.items():
        if name not in known:
            lacking.append(f"# {name}: {value}\n")
            continue
        for path, parameter in known[name](value).items():
            *sections, key = path.split(".")
            section = document
            for part in sections:
                section = section[part]
            section[key] = parameter
    notes = "# RapidOCR has no parameter for these:\n" + "".join(lacking) if lacking else ""
    return notes + yaml.safe_dump(document, sort_keys=False)


def _shipped() -> dict[str, Any]:
    spec = find_spec("rapidocr")
    if spec is None or spec.origin is None:
        raise UserError(
            "rapidocr is not installed, and its defaults are part of the file; run `pip install rapidocr`"
        )
    document: dict[str, Any] = yaml.safe_load((Path(spec.origin).parent / "config.yaml").read_text("utf-8"))
    return document
