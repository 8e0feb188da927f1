"""`tune export`: a tuned config in another program's format."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from harness.cli.common import write_text
from harness.config import read_config
from harness.errors import unknown
from harness.export import EXPORTERS


def export(
    config: Path, /, *, to: str, o: Annotated[Path | None, Parameter(name=["-o", "--output"])] = None
) -> int:
    """Print a tuned config in another program's format.

    Parameters
    ----------
    config
        A tuned config, such as best.yaml.
    to
        env, json or rapidocr.
    o
        File to write instead of standard output.
    """
    if to not in EXPORTERS:
        raise unknown("format", to, EXPORTERS)
    text = EXPORTERS[to](read_config(config))
    if o is None:
        sys.stdout.write(text)
        return 0
    write_text(o, text, "choose another file with -o")
    return 0
