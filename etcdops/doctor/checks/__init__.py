"""The checks: each a pure function from an observation to findings. `table.CHECKS` lists them all."""
