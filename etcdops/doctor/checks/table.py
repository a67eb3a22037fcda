"""Every check there is, in no order that matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from etcdops.doctor.checks import (
    care,
    certificates,
    cluster,
    identity,
    load,
    network,
    resources,
    services,
    settings,
    shape,
    versions,
)
from etcdops.doctor.finding import Finding
from etcdops.doctor.observation import Observation

Check = Callable[[Observation], Iterator[Finding]]


def of_the_view(observation: Observation) -> Iterator[Finding]:
    """What one look through the API shows; the console asks these alone, at every look."""
    if observation.view is not None:
        for check in cluster.VIEW_CHECKS:
            yield from check(observation.view)


CHECKS: tuple[Check, ...] = (
    of_the_view,
    *shape.CHECKS,
    *load.CHECKS,
    *identity.CHECKS,
    *settings.CHECKS,
    *services.CHECKS,
    *resources.CHECKS,
    *network.CHECKS,
    *certificates.CHECKS,
    *versions.CHECKS,
    *care.CHECKS,
)
