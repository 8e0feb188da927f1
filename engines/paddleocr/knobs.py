"""What can be set on PaddleOCR, and the library's own arguments that settings become."""

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

from engines.interface import Choice, Knob, Machine, Ordered, Setting, Settings, UnsupportedError
from engines.paddleocr.models import default, here, names, resolve

OCR, STRUCTURE = "PP-OCR", "PP-StructureV3"
_THREADS = 10
"""The library's default, whatever the machine."""
_AUXILIARY: Mapping[str, tuple[str, str]] = {
    "use_doc_orientation_classify": ("doc_orientation_classify", "PP-LCNet_x1_0_doc_ori"),
    "use_doc_unwarping": ("doc_unwarping", "UVDoc"),
    "use_textline_orientation": ("textline_orientation", "PP-LCNet_x1_0_textline_ori"),
}
"""Stages of both pipelines that PP-OCR ships switched on: the prefix of their arguments, and their model."""
_STRUCTURE: Mapping[str, tuple[tuple[str, str], ...]] = {
    "use_region_detection": (("region_detection", "PP-DocBlockLayout"),),
    "use_table_recognition": (
        ("table_classification", "PP-LCNet_x1_0_table_cls"),
        ("wired_table_structure_recognition", "SLANeXt_wired"),
        ("wireless_table_structure_recognition", "SLANet_plus"),
        ("wired_table_cells_detection", "RT-DETR-L_wired_table_cell_det"),
        ("wireless_table_cells_detection", "RT-DETR-L_wireless_table_cell_det"),
        ("table_orientation_classify", "PP-LCNet_x1_0_doc_ori"),
    ),
    "use_formula_recognition": (("formula_recognition", "PP-FormulaNet_plus-L"),),
}
"""Stages of PP-StructureV3 that it ships switched on, likewise."""
_LAYOUT = ("layout_detection", "PP-DocLayout_plus-L")
_RENAMED = {
    "det_limit_side_len": "text_det_limit_side_len",
    "det_limit_type": "text_det_limit_type",
    "det_box_thresh": "text_det_box_thresh",
    "det_unclip_ratio": "text_det_unclip_ratio",
    "rec_batch_size": "text_recognition_batch_size",
}


def knobs(machine: Machine) -> tuple[Knob, ...]:
    """What can be set. Defaults are the library's, as far as the weights that they need are on this machine."""
    switch = Choice((True, False))
    cores = tuple(range(1, machine.cores + 1))
    side = Ordered((0, 480, 640, 736, 960, 1280, 1600, 2560), high=4000)
    growth = Ordered((1.2, 1.5, 1.8, 2.0), low=1.0, high=3.0)
    score = Ordered((0.3, 0.4, 0.5, 0.6, 0.7), low=0.0, high=1.0)
    batch = Ordered((0, 1, 2, 4, 6, 8, 16, 32), high=256)
    reads = partial(Knob, changes_text=True)
    paddle: dict[str, tuple[Setting, ...]] = {"engine": ("paddle",)}
    plain, onnxruntime = {**paddle, "hpi": (False,)}, {"engine": ("onnxruntime",)}
    aids = {
        "use_doc_orientation_classify": "turn pages that lie on their side (boxes are then left out)",
        "use_doc_unwarping": "flatten photographed pages (boxes are then left out)",
        "use_textline_orientation": "turn lines that stand on their head",
    }
    parts = {
        "use_region_detection": "detect regions of the page, for its reading order",
        "use_table_recognition": "read tables cell by cell",
        "use_formula_recognition": "read formulas as LaTeX",
    }
    return (
        reads("pipeline", "pipeline", Choice((OCR, STRUCTURE)), OCR, "lines alone, or the layout as well"),
        reads("det_model", "detect", Choice(names("det"), open=True), default("det"), "detection model"),
        reads("rec_model", "recognise", Choice(names("rec"), open=True), default("rec"), "recognition model"),
        Knob(
            "engine",
            "pipeline",
            Choice(("paddle", "onnxruntime", "transformers")),
            "paddle",
            "runtime of the models",
        ),
        Knob("onednn", "pipeline", switch, True, "oneDNN kernels on a CPU (run_mode mkldnn)", when=plain),
        Knob(
            "cpu_threads",
            "pipeline",
            Ordered(cores, high=max(_THREADS, *cores)),
            _THREADS,
            "threads of Paddle",
            when=plain,
        ),
        Knob(
            "hpi",
            "pipeline",
            Choice((False, True)),
            False,
            "high-performance inference: its plugin chooses the runtime",
            when=paddle,
        ),
        Knob(
            "intra_op_num_threads",
            "pipeline",
            Ordered((0, *cores)),
            0,
            "threads in an operator; 0: its own",
            when=onnxruntime,
        ),
        reads(
            "det_limit_side_len",
            "detect",
            side,
            0,
            "side limit in pixels; 0: 64 or 736, by pipeline",
        ),
        reads(
            "det_limit_type",
            "detect",
            Choice(("min", "max")),
            "min",
            "side that the limit is for",
        ),
        reads("det_box_thresh", "detect", score, 0.6, "boxes with a lower score are dropped"),
        reads("det_unclip_ratio", "detect", growth, 1.5, "how far a box grows around what was detected"),
        reads("rec_batch_size", "recognise", batch, 0, "lines in a batch; 0: 6 or 8, by pipeline"),
        *(
            reads(name, "preprocess", switch, here(model) is not None, aids[name])
            for name, (_, model) in _AUXILIARY.items()
        ),
        *(
            reads(
                name,
                "postprocess",
                switch,
                all(here(model) for _, model in models),
                parts[name],
                when={"pipeline": (STRUCTURE,)},
            )
            for name, models in _STRUCTURE.items()
        ),
    )


def arguments(settings: Settings, device: str) -> dict[str, Any]:
    """The arguments of the library's pipeline class. Raises UnsupportedError where models are not here."""
    engine = str(settings["engine"])
    # Every model folder is named, or the library would go and look for it in a hub.
    models = {"text_detection": str(settings["det_model"]), "text_recognition": str(settings["rec_model"])}
    models |= dict(_AUXILIARY[name] for name in _AUXILIARY if settings[name])
    if settings["pipeline"] == STRUCTURE:
        models |= dict(
            [_LAYOUT, *(pair for name in _STRUCTURE if settings[name] for pair in _STRUCTURE[name])]
        )
    chosen: dict[str, Any] = {}
    for prefix, model in models.items():
        folder = resolve(model, engine)
        chosen |= {f"{prefix}_model_name": folder.name, f"{prefix}_model_dir": str(folder)}
    switches = {name: settings[name] for name in (*_AUXILIARY, *_STRUCTURE) if name in settings}
    # 0 leaves a value to the pipeline, which knows a different one each.
    values = {theirs: settings[ours] for ours, theirs in _RENAMED.items() if settings[ours] != 0}
    return {**chosen, **switches, **values, **_runtime(settings, engine, device)}


def _runtime(settings: Settings, engine: str, device: str) -> dict[str, Any]:
    where = device.replace("cuda", "gpu")
    if settings.get("hpi"):
        if find_spec("ultra_infer") is None:
            raise UnsupportedError(
                "high-performance inference needs a plugin; run `paddleocr install_hpi_deps cpu` or choose hpi=false"
            )
        return {"device": where, "enable_hpi": True}
    configs: dict[str, dict[str, Setting]] = {"transformers": {}}
    if engine == "paddle":
        onednn = bool(settings["onednn"]) and device == "cpu"
        configs["paddle"] = {
            "run_mode": "mkldnn" if onednn else "paddle",
            "cpu_threads": settings["cpu_threads"],
        }
    elif engine == "onnxruntime":
        threads = settings["intra_op_num_threads"]
        configs["onnxruntime"] = {"intra_op_num_threads": threads} if threads else {}
    name = "paddle_static" if engine == "paddle" else engine
    return {"device": where, "engine": name, "engine_config": configs[engine]}
