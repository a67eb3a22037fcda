"""All faults."""

from __future__ import annotations

from tests.diagnosis.faults import certificates, clients, disk, identity, network, start
from tests.diagnosis.faults.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *identity.FAULTS,
    *network.FAULTS,
    *certificates.FAULTS,
    *disk.FAULTS,
    *start.FAULTS,
    *clients.FAULTS,
)
