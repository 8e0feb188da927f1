"""Starts a module of the tool under another interpreter: `PYTHON -I .../harness/elsewhere.py MODULE ARGUMENT...`.

The tool need not be installed there. Only its packages `engines` and `harness` are taken from here: the folder that
they lie in may hold every package of the first environment, so it must not join the path of the second.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_OLDEST_PYTHON = (3, 11)


def main() -> None:
    """Run the module that the first argument names, with the rest as its arguments."""
    if sys.version_info < _OLDEST_PYTHON:
        sys.exit("Python %d.%d is too old: 3.11 or later is needed" % sys.version_info[:2])  # noqa: UP031
    for name in ("engines", "harness"):
        folder = _ROOT / name
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None and spec.loader is not None  # noqa: S101  the file is there
        sys.modules[name] = package = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(package)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
