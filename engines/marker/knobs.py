"""What can be set in the installed version of marker, and how marker and surya are told."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from engines.interface import Choice, Knob, Machine, Ordered, Setting, Settings, Stage
from engines.marker import checkpoints, versions

SEPARATOR = "-" * 16 + "page-of-ocr-tune" + "-" * 16
"""Follows the number of a page in the Markdown; a document is not likely to have it."""
_BATCHES = Ordered((0, 1, 2, 4, 8, 16, 32, 64), high=512)
_DTYPES = ("auto", "float32", "float16", "bfloat16")
_GEMINI = "marker.services.gemini.GoogleGeminiService"
_EITHER = Choice((False, True))
_DETECTS: Mapping[str, tuple[Setting, ...]] = {"layout": ("detect",)}
_READS: Mapping[str, tuple[Setting, ...]] = {"ocr": (True,)}


@dataclass(frozen=True, slots=True)
class _Row:
    """A number or switch that a version has or has not; 0 and False leave it to the library."""

    name: str
    theirs: str
    """A key of marker's configuration, or in capitals a setting of surya."""
    stage: Stage
    domain: Ordered | Choice
    help: str
    when: Mapping[str, tuple[Setting, ...]]


_ROWS = (
    _Row("layout_batch_size", "layout_batch_size", "detect", _BATCHES, "pages in a batch of layout", _DETECTS),
    _Row("det_batch_size", "detection_batch_size", "detect", _BATCHES, "pages in a batch of detection", _READS),
    _Row("rec_batch_size", "recognition_batch_size", "recognise", _BATCHES, "lines in a batch", _READS),
    _Row("table_batch_size", "table_rec_batch_size", "recognise", _BATCHES, "tables in a batch", _DETECTS),
    _Row("equation_batch_size", "equation_batch_size", "recognise", _BATCHES, "formulas in a batch", _READS),
    _Row("error_batch_size", "ocr_error_batch_size", "detect", _BATCHES, "texts in a batch of garble tests", _READS),
    _Row("compile_detector", "COMPILE_DETECTOR", "detect", _EITHER, "torch.compile of detection", _READS),
    _Row("compile_layout", "COMPILE_LAYOUT", "detect", _EITHER, "torch.compile of layout", _DETECTS),
    _Row("compile_recognition", "COMPILE_FOUNDATION", "recognise", _EITHER, "torch.compile of reading", _READS),
    _Row("compile_tables", "COMPILE_TABLE_REC", "recognise", _EITHER, "torch.compile of tables", _DETECTS),
    _Row("compile_ocr_error", "COMPILE_OCR_ERROR", "detect", _EITHER, "torch.compile of garble tests", _READS),
    _Row("layout_max_batch", "FAST_LAYOUT_SERVER_MAX_BATCH", "detect", _BATCHES, "pages in a batch", _DETECTS),
    _Row("parallel_requests", "SURYA_INFERENCE_PARALLEL", "recognise", _BATCHES, "requests at once", _READS),
)  # fmt: skip


def knobs(machine: Machine) -> tuple[Knob, ...]:
    """What can be set. The defaults are marker's own.

    Without surya's weights the layout models and the recogniser are left out: what remains reads text layers of
    PDFs. Left out in every version: `--workers`, for processes that convert documents side by side are the replicas
    of the page pipeline, and `--page_range`, for pages are asked for by name.
    """
    complete = not checkpoints.missing()
    layouts = ("detect", "none") if complete else ("none",)
    workers = Ordered(tuple(sorted({1, 2, 4, 8, machine.cores})), high=max(64, machine.cores))
    resolution = Ordered((48, 72, 96, 144, 192, 288), low=24, high=600)
    reads = partial(Knob, changes_text=True)
    layout_help = "find blocks on a page, or take each page for one block of text (force_layout_block)"
    shared = (
        reads("layout", "detect", Choice(layouts), layouts[0], layout_help),
        reads("ocr", "recognise", Choice((True, False) if complete else (False,)), complete, "not disable_ocr"),
        Knob("pdftext_workers", "preprocess", workers, 4, "processes that read the text layer of a PDF"),
        reads("lowres_image_dpi", "preprocess", resolution, 96, "resolution of pages for the layout"),
        reads("use_llm", "postprocess", _EITHER, False, "a language model corrects blocks (--use_llm)"),
        reads("llm_service", "postprocess", Choice((_GEMINI,), open=True), _GEMINI, "class that asks the model",
              {"use_llm": (True,)}),
    )  # fmt: skip
    return (*shared, *_model_knobs(machine)) if complete else shared


def _model_knobs(machine: Machine) -> Iterator[Knob]:
    """Those of the models, as far as this version has them."""
    reads = partial(Knob, changes_text=True)
    resolution = Ordered((96, 144, 192, 288), low=48, high=600)
    yield reads("force_ocr", "recognise", _EITHER, False, "read every page anew, text layer or not", _READS)
    yield reads("highres_image_dpi", "preprocess", resolution, 192, "resolution for reading", _READS)
    if versions.serves_language_model():
        mode = "balanced" if machine.gpus else "fast"
        yield reads(
            "mode", "pipeline", Choice(("fast", "balanced")), mode, "light layout, or a language model's"
        )
        cores = Ordered((0, *range(1, machine.cores + 1)))
        yield Knob("layout_threads", "detect", cores, 0, "threads of layout; 0: PyTorch's own", _DETECTS)
        if machine.gpus:
            dtypes = Choice(("bfloat16", "float16"))
            yield reads(
                "precision", "recognise", dtypes, "bfloat16", "of the served model (VLLM_DTYPE)", _READS
            )
    else:
        yield reads("precision", "pipeline", Choice(_DTYPES), "auto", "weights: float32 on a CPU where auto")
    known = {*versions.marker_options(), *versions.surya_settings()}
    for row in _ROWS:
        if row.theirs in known:
            default: Setting = 0 if isinstance(row.domain, Ordered) else False
            yield reads(row.name, row.stage, row.domain, default, row.help, row.when)


def configuration(settings: Settings) -> dict[str, object]:
    """marker's own configuration. Pictures are not written: they are no text."""
    passed = ("mode", "pdftext_workers", "lowres_image_dpi", "highres_image_dpi", "force_ocr", "use_llm")
    return {
        "disable_ocr": not settings["ocr"],
        "extract_images": False,
        "disable_tqdm": True,
        "paginate_output": True,
        "page_separator": SEPARATOR,
        **({"force_layout_block": "Text"} if settings["layout"] == "none" else {}),
        **{name: settings[name] for name in passed if name in settings},
        **{row.theirs: settings[row.name] for row in _set_rows(settings) if not row.theirs.isupper()},
    }


def environment(settings: Settings, device: str) -> dict[str, str]:
    """What surya reads from environment variables, as do the servers that it starts."""
    served = versions.serves_language_model()
    threads = (
        {"FAST_LAYOUT_NUM_THREADS": str(settings["layout_threads"])} if settings.get("layout_threads") else {}
    )
    return {
        "TORCH_DEVICE": device,
        **({"FAST_DETECTOR_DEVICE": device} if served else {}),
        **({"VLLM_DTYPE": str(settings["precision"])} if served and "precision" in settings else {}),
        **threads,
        **{row.theirs: str(settings[row.name]) for row in _set_rows(settings) if row.theirs.isupper()},
    }


def _set_rows(settings: Settings) -> Iterator[_Row]:
    return (row for row in _ROWS if settings.get(row.name))
