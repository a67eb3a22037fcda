"""`python -m etcdops` is the `etcdops` command."""

from __future__ import annotations

from etcdops.cli.main import main

main()
