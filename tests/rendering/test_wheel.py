"""An installed etcdops has its templates with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from etcdops.rendering.render import template_names

ROOT = Path(__file__).parents[2]
_ASK = (
    "from etcdops.rendering.render import render, template_names\n"
    "print(render('supervise/log-run', log_directory='/var/log/x'), *template_names(), sep='\\n')"
)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_wheel_renders_what_the_checkout_renders(tmp_path: Path) -> None:
    """Built as for a release, unpacked, used from somewhere else."""
    source = tmp_path / "source"
    unwanted = shutil.ignore_patterns("__pycache__")
    for folder in ("etcdops", "templates"):
        shutil.copytree(ROOT / folder, source / folder, ignore=unwanted)
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        if (ROOT / file).exists():
            shutil.copy(ROOT / file, source)
    build = [sys.executable, "-c", "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))"]
    built = subprocess.run(
        [*build, str(tmp_path)], cwd=source, capture_output=True, text=True, timeout=250, check=False
    )
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    asked = subprocess.run(
        [sys.executable, "-c", _ASK],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "svlogd -tt /var/log/x" in asked.stdout
    assert asked.stdout.split()[-len(template_names()) :] == template_names()
    assert (installed / "etcdops" / "_templates" / "_member").exists()
