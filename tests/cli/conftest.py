"""Running the command line, in this process and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from etcdops.cli.main import run


@dataclass(frozen=True)
class Ran:
    """How a command line ended."""

    code: int
    out: str
    err: str


RunCli = Callable[..., Ran]


def clean_environment(home: Path) -> dict[str, str]:
    """This process's environment without what would change the output or the connection."""
    unwanted = ("ETCDOPS_", "ETCDCTL_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
    return kept | {"ETCDOPS_HOME": str(home), "TERM": "xterm"}


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunCli:
    """Run a command line in this process: `cli("status", "--help", NO_COLOR="1")`."""

    def call(*arguments: str, **environment: str) -> Ran:
        with monkeypatch.context() as patch:
            for key in list(os.environ):
                patch.delenv(key)
            for key, value in (clean_environment(tmp_path) | environment).items():
                patch.setenv(key, value)
            code = run(arguments)
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return call


@pytest.fixture
def cli_process(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a command line in a process of its own, with pipes."""

    def start(arguments: Sequence[str], **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "etcdops", *arguments],
            env=clean_environment(tmp_path) | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
