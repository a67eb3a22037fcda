"""Every test of the server runs over both HTTP/2 ports."""

from __future__ import annotations

import pytest

from etcdops.node.rpc.frame_port import FramePort
from etcdops.node.rpc.h2_port import H2Port
from etcdops.node.rpc.http2 import PortFactory
from etcdops.node.rpc.limits import Limits
from tests.node.rpc.rig import Build, ServerRig


@pytest.fixture(params=[FramePort, H2Port], ids=["frames", "h2"])
def port(request: pytest.FixtureRequest) -> PortFactory:
    """An implementation of HTTP/2."""
    factory: PortFactory = request.param
    return factory


@pytest.fixture
def build(port: PortFactory) -> Build:
    """Makes a rig with limits and client settings of its own."""

    def make(limits: Limits | None = None, settings: dict[int, int] | None = None) -> ServerRig:
        return ServerRig(port, limits, settings)

    return make


@pytest.fixture
def rig(build: Build) -> ServerRig:
    """A rig with default limits."""
    return build()
