"""The whole config as JSON."""

from harness.config import TunedConfig


def export(config: TunedConfig) -> str:
    """Every key of `best.yaml`."""
    return config.model_dump_json(indent=2) + "\n"
