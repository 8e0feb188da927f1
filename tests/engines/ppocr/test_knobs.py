from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from engines import ppocr
from engines.interface import Gpu, Machine, Setting, StageTimer
from tests.engines.support import MACHINE

KNOBS = {knob.name: knob for knob in ppocr.knobs(MACHINE)}


class Watched(dict[str, Setting]):
    """Settings that remember which of them were looked at."""

    def __init__(self, settings: dict[str, Setting]) -> None:
        super().__init__(settings)
        self.seen: set[str] = set()

    def __getitem__(self, name: str) -> Setting:
        self.seen.add(name)
        return super().__getitem__(name)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("settings are looked up by name")


def test_defaults_are_those_that_rapidocr_ships() -> None:
    import rapidocr

    shipped = yaml.safe_load((Path(rapidocr.__file__).parent / "config.yaml").read_text())
    runtime, detection = shipped["EngineConfig"]["onnxruntime"], shipped["Det"]
    expected = {
        "max_side": shipped["Global"]["max_side_len"],
        "text_score": shipped["Global"]["text_score"],
        "use_cls": shipped["Global"]["use_cls"],
        "det_model": f"v{detection['ocr_version'][-1]}_{detection['model_type']}",
        "rec_model": f"v{shipped['Rec']['ocr_version'][-1]}_{shipped['Rec']['model_type']}",
        "det_runtime": detection["engine_type"],
        "rec_runtime": shipped["Rec"]["engine_type"],
        "det_side": detection["limit_side_len"],
        "det_limit_type": detection["limit_type"],
        "det_box_thresh": detection["box_thresh"],
        "det_unclip_ratio": detection["unclip_ratio"],
        "det_dilation": detection["use_dilation"],
        "det_score_mode": detection["score_mode"],
        "cls_batch": shipped["Cls"]["cls_batch_num"],
        "rec_batch": shipped["Rec"]["rec_batch_num"],
        "rec_min_width": shipped["Rec"]["rec_img_shape"][2],
        "det_arena": runtime["enable_cpu_mem_arena"],
        "rec_arena": runtime["enable_cpu_mem_arena"],
    }
    assert {name: KNOBS[name].default for name in expected} == expected


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_every_setting_that_applies_is_looked_at(runtime: str) -> None:
    settings = {knob.name: knob.default for knob in KNOBS.values()}
    settings |= {"det_runtime": runtime, "rec_runtime": runtime, "det_threads": 1}
    applies = {
        name
        for name, knob in KNOBS.items()
        if all(settings[other] in values for other, values in knob.when.items())
    }
    watched = Watched({name: settings[name] for name in applies})
    with ppocr.open(watched, "cpu", StageTimer()):
        assert watched.seen & KNOBS.keys() == applies


def test_threads_and_streams_follow_the_cores() -> None:
    for cores, threads, streams in ((1, (0, 1), (1,)), (6, (0, 1, 2, 4, 6), (1, 2, 4, 6))):
        knobs = {knob.name: knob for knob in ppocr.knobs(Machine("test", cores, 8192))}
        assert knobs["det_threads"].domain.values == knobs["rec_threads"].domain.values == threads
        assert knobs["rec_streams"].domain.values == streams


def test_what_torch_does_on_a_gpu_only_is_offered_with_one_only() -> None:
    def offered(machine: Machine) -> set[str]:
        return {knob.name for knob in ppocr.knobs(machine) if knob.name.endswith(("_tf32", "_pinned"))}

    assert offered(MACHINE) == set()
    with_gpu = replace(MACHINE, gpus=(Gpu(0, "test", 8192, "1"),))
    assert offered(with_gpu) == {"det_tf32", "det_pinned", "rec_tf32", "rec_pinned"}
