"""Which manager keeps a member, and the service that speaks to it."""

from __future__ import annotations

from etcdops.errors import UsageError
from etcdops.inventory.model import Manager, ServiceSpec
from etcdops.remote.session import Session
from etcdops.services.container import ContainerService
from etcdops.services.port import Service
from etcdops.services.process import ProcessService
from etcdops.services.supervise import SuperviseService
from etcdops.services.supervisord import SupervisordService
from etcdops.services.systemd import SystemdService


def service_for(session: Session, spec: ServiceSpec) -> Service:
    """The service that the inventory describes, on the host of `session`. Nothing is asked of the host yet.

    Raises: UsageError - it is a static pod, which is nobody's service.
    """
    match spec.manager:
        case Manager.SYSTEMD:
            return SystemdService(session, spec.name)
        case Manager.DOCKER | Manager.PODMAN:
            return ContainerService(session, spec.name, spec.manager.value)
        case Manager.SUPERVISE:
            return SuperviseService(session, spec.name)
        case Manager.SUPERVISORD:
            return SupervisordService(session, spec.name)
        case Manager.PROCESS:
            return ProcessService(session, spec.name)
        case Manager.KUBELET:
            raise UsageError(
                f"{session.host}: {spec.name} is a static pod: the kubelet keeps it, and etcdops only looks at it",
                hint="change its manifest, /etc/kubernetes/manifests/etcd.yaml; moving it away stops the member",
            )
