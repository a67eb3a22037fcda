"""What pyproject.toml has no words for: templates/ is shipped as etcdops/_templates."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithTemplates(build_py):
    """An editable installation finds templates/ beside the package instead."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "etcdops" / "_templates"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(Path(__file__).parent / "templates", target)


setup(cmdclass={"build_py": BuildWithTemplates})
