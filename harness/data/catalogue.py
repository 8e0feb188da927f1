"""`datasets.yaml`: every data set that has a name."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness import yaml_text
from harness.data.manifest import first_fault
from harness.data.refs import Profile
from harness.data.resources import resource
from harness.errors import UserError

FILE = "datasets.yaml"
_Address = Annotated[str, Field(pattern=r"^https://")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    licence: str
    profile: Profile | None = None
    """None where each page's language decides."""
    language: str


class GeneratedEntry(_Entry):
    """Pages that this program draws, the same ones everywhere."""

    kind: Literal["generated"]
    seed: int


class FolderEntry(_Entry):
    """A folder of this machine."""

    kind: Literal["folder"]
    path: str
    """Relative to the folder of datasets.yaml."""


class RemoteFile(BaseModel):
    """A file to fetch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: _Address
    sha256: _Sha256 | None
    """None: what the first fetch brings is recorded in the cache, and later fetches must bring the same."""


class ArchiveEntry(_Entry):
    """A public data set, fetched only when asked for."""

    kind: Literal["archive"]
    layout: Literal["funsd", "sroie", "icdar2015", "omnidocbench"]
    """Which reader of `harness.data.layouts` understands the files."""
    files: tuple[RemoteFile, ...]
    images: _Address | None = None
    """Folder of the images that the ground truth names, where they are fetched one by one."""


Entry = Annotated[GeneratedEntry | FolderEntry | ArchiveEntry, Field(discriminator="kind")]
_ENTRIES: TypeAdapter[dict[str, Entry]] = TypeAdapter(dict[str, Entry])


def read_catalogue(path: Path | None = None) -> dict[str, Entry]:
    """The entries of datasets.yaml by name. Raises UserError where the file is malformed."""
    path = path or resource(FILE)
    try:
        return _ENTRIES.validate_python(yaml_text.parse(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {first_fault(error)}") from error
