"""`python -m tests.sim --seed 7`, or `--seeds 1..500 --jobs 2`. See README.md beside this file."""

from __future__ import annotations

import sys

from tests.sim.command import main

sys.exit(main())
