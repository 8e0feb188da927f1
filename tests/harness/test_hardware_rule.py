import pytest

from engines.interface import Gpu, Machine
from harness.hardware_rule import hardware_rule, rule_for, suggestion
from harness.space import Space


@pytest.mark.parametrize(
    ("vram", "batches"),
    [(0, (1, 8)), (4, (1, 8)), (4.1, (2, 16)), (6, (2, 16)), (6.1, (3, 24)), (8, (3, 24)), (8.1, (4, 32))],
)
def test_batches_follow_the_memory_of_the_gpu(vram: float, batches: tuple[int, int]) -> None:
    rule = hardware_rule(8, vram, 8)
    assert (rule.det_batch, rule.rec_batch) == batches


@pytest.mark.parametrize(("ram", "prefetch"), [(0.1, 4), (2, 4), (2.4, 4), (2.5, 5), (8, 16), (64, 16)])
def test_pages_ahead_follow_the_available_memory(ram: float, prefetch: int) -> None:
    assert hardware_rule(ram, 0, 8).prefetch == prefetch


@pytest.mark.parametrize(("cores", "workers"), [(1, 2), (4, 2), (6, 3), (12, 6), (64, 6)])
def test_workers_are_half_the_cores(cores: int, workers: int) -> None:
    assert hardware_rule(8, 0, cores).workers == workers


def test_the_first_gpu_counts_and_memory_is_no_more_than_the_machine_may_use() -> None:
    gpus = (Gpu(0, "small", 6144, ""), Gpu(1, "large", 81920, ""))
    rule = rule_for(Machine("test", cores=8, memory_mib=3072, gpus=gpus), 64)
    assert (rule.det_batch, rule.rec_batch, rule.prefetch) == (2, 16, 6)


def test_a_suggestion_is_a_variant_of_any_engine(scripted: str) -> None:
    machine = Machine("test", cores=2, memory_mib=4096)
    for engine in (scripted, "ppocr"):
        space = Space.of(engine, "cpu", machine)
        settings = suggestion(rule_for(machine, 64), space.by_name)
        assert space.suggested(settings).settings["prefetch"] == 8
        assert ("rec_batch" in settings) == (engine == "ppocr")
