"""Environment variables, for shells, systemd and containers."""

import shlex

from harness.config import TunedConfig


def export(config: TunedConfig) -> str:
    """`OCR_TUNE_ENGINE=...`, `OCR_TUNE_DEVICE=...` and one `OCR_TUNE_<KNOB>=value` a setting, quoted for a shell."""
    pairs = {"ENGINE": config.engine, "DEVICE": config.device}
    for name, value in config.settings.items():
        pairs[name.upper()] = str(value).lower() if isinstance(value, bool) else str(value)
    return "".join(f"OCR_TUNE_{name}={shlex.quote(value)}\n" for name, value in pairs.items())
