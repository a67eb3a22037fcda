"""Files of this machine that an inventory names: relative ones begin where the inventory's file is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

FOLDER = "folder"
"""Key of the validation's context: the folder of the file that is read."""


def _beside(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get(FOLDER)
    at_home = path.parts[:1] and path.parts[0].startswith("~")  # whose home it is shows when it is used
    return folder / path if isinstance(folder, Path) and not at_home else path


LocalPath = Annotated[Path, AfterValidator(_beside)]
