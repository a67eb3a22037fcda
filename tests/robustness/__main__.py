"""See command.py."""

from __future__ import annotations

import sys

from tests.robustness.command import main

if __name__ == "__main__":
    sys.exit(main())
