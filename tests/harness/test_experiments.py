from dataclasses import replace
from pathlib import Path

import pytest

from engines import registry
from engines.interface import Gpu, Machine
from harness import pipeline
from harness.data.resources import resource
from harness.experiments import Experiment, read_experiment
from harness.space import Space

WITH_GPU = Machine("test", cores=4, memory_mib=8192, gpus=(Gpu(0, "test", 8192, "1"),))
EXPERIMENTS = sorted(path.stem for path in Path(resource("experiments/search")).glob("*.yaml"))


def space_of(engine: str, machine: Machine) -> Space:
    """The space of an engine, whether its packages are installed or not."""
    return Space(engine, "cpu", (*pipeline.knobs(machine), *registry.load(engine).knobs(machine)))


@pytest.mark.parametrize("cores", [1, 2, 16])
@pytest.mark.parametrize("engine", EXPERIMENTS)
def test_every_start_is_a_variant_of_its_engine_on_any_number_of_cores(engine: str, cores: int) -> None:
    machine = Machine("test", cores=cores, memory_mib=8192)
    space = space_of(engine, machine)
    experiment = read_experiment(engine, "cpu", machine).for_knobs(space.by_name)
    variants = [space.suggested(start) for start in experiment.start]
    assert len({variant.id for variant in variants}) == len(variants) >= 3
    # The last may stand in for the engine as shipped, which is one process.
    assert {variant.settings["replicas"] for variant in variants[:-1]} == {cores}


@pytest.mark.parametrize("cores", [1, 16])
def test_every_start_on_a_gpu_is_complete_and_can_run_there(cores: int) -> None:
    machine = replace(WITH_GPU, cores=cores)
    space = space_of("ppocr", machine)
    experiment = read_experiment("ppocr", "cuda:0", machine).for_knobs(space.by_name)
    variants = [space.variant(start) for start in experiment.start if space.admits(start)]  # none is idle
    assert len({variant.id for variant in variants}) == len(experiment.start) >= 3
    runtimes = set()
    for settings in (variant.settings for variant in variants):
        for stage in ("det", "rec"):
            runtimes.add(settings[f"{stage}_runtime"])
            # OpenVINO runs on the CPU only here.
            assert settings[f"{stage}_runtime"] != "openvino" or settings[f"{stage}_device"] == "cpu"
            if settings[f"{stage}_runtime"] == "torch":
                assert settings[f"{stage}_model"] == "v6_small"
                assert not settings["use_cls"]
    assert runtimes == {"onnxruntime", "torch"}
    assert any(variant.settings.get("det_trt_precision") == "f16" for variant in variants)


def test_torch_is_searched_on_a_gpu_only() -> None:
    searched = {device: read_experiment("ppocr", device, WITH_GPU).search for device in ("cpu", "cuda:0")}
    for stage in ("det", "rec"):
        assert "torch" not in (searched["cpu"] or {})[f"{stage}_runtime"]
        assert "torch" in (searched["cuda:0"] or {})[f"{stage}_runtime"]


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("engine", EXPERIMENTS)
def test_every_knob_that_is_searched_is_a_knob_of_its_engine(engine: str, device: str) -> None:
    machine = Machine("test", cores=4, memory_mib=8192)
    with_gpu = replace(machine, gpus=WITH_GPU.gpus)
    experiment = read_experiment(engine, device, machine)
    knobs = space_of(engine, machine).by_name | space_of(engine, with_gpu).by_name
    for name, values in (experiment.search or {}).items():
        if name in experiment.optional and name not in knobs:
            continue
        assert [value for value in values if knobs[name].domain.admits(value)], name


def test_an_engine_without_a_file_is_searched_whole() -> None:
    assert read_experiment("scripted", "cpu", Machine("test", 2, 1024)).search is None


def test_an_optional_knob_is_dropped_only_where_the_engine_leaves_it_out() -> None:
    experiment = Experiment(start=[{"omp_threads": 1, "scale": 0.5}], optional=["omp_threads"])
    assert experiment.for_knobs(["scale"]).start == [{"scale": 0.5}]
    assert experiment.for_knobs(["scale", "omp_threads"]) == experiment
    assert (
        experiment.for_knobs(["omp_threads"]).start == experiment.start
    )  # not optional: an error of the file
