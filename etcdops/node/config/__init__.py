"""etcd's flags, variables and config file as one checked value: `load_config(argv, environ) -> Config`."""

from __future__ import annotations

from etcdops.node.config.help_text import PrintAndExit
from etcdops.node.config.settings import Config
from etcdops.node.config.sources import load_config

__all__ = ["Config", "PrintAndExit", "load_config"]
