"""Parameters of RapidOCR: `RapidOCR(params=yaml.safe_load(open(FILE)))`."""

from collections.abc import Callable, Mapping

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
    """YAML of RapidOCR's dotted parameters; settings that RapidOCR lacks stand as comments.

    Raises UserError for an engine that is no PP-OCR.
    """
    if config.engine not in _PARAMETERS:
        raise UserError(f"a config of {config.engine} cannot be written for rapidocr; only ppocr and rapidocr can")
    known = _PARAMETERS[config.engine]
    parameters: dict[str, Setting] = {}
    lacking = []
    for name, value in config.settings.items():
        if name in known:
            parameters |= known[name](value)
        else:
            lacking.append(f"# {name}: {value}\n")
    notes = "# RapidOCR has no parameter for these:\n" + "".join(lacking) if lacking else ""
    return yaml.safe_dump(parameters, sort_keys=True) + notes
