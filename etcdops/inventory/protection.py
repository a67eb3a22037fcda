"""How much it takes to change a cluster: the one place that decides it."""

from __future__ import annotations

import enum


class Protection(enum.StrEnum):
    """What an operator has to say before a change of a cluster.

    |           | a change while it goes on serving | one that may cost data, or the service |
    | --------- | --------------------------------- | -------------------------------------- |
    | none      | `y` or --yes                      | `y` or --yes                           |
    | normal    | `y` or --yes                      | its name                               |
    | protected | its name                          | its name                               |

    A name is typed, or given by --confirm, which always will do.
    """

    NONE = "none"
    """To play with, or made anew by the next test."""
    NORMAL = "normal"
    PROTECTED = "protected"
    """A habit must not change it: it is never meant by default either, and the console begins read-only."""

    def wants_name(self, *, severe: bool) -> bool:
        """Whether the cluster's name has to be typed. Args: severe - data or the service may be lost."""
        return self is Protection.PROTECTED or (severe and self is Protection.NORMAL)
