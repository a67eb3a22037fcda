"""Reads of one key from h2load, which takes little of the cores that it shares with the members."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.bench.put_load import KEY, VALUE_BYTES, LoadFailed, call
from tests.fakes.http2_client import message

PATH = "/etcdserverpb.KV/Range"
CONNECTIONS, IN_FLIGHT = 10, 10
_CACHED = Path(__file__).parents[2] / ".cache" / "nghttp2" / "h2load"


def find_h2load() -> str | None:
    """The installed one, or the one that .ci/fetch-h2load fetched."""
    return shutil.which("h2load") or (str(_CACHED) if _CACHED.exists() else None)


def read(endpoint: str, *, serializable: bool, reads: int, timeout_s: float, h2load: str | None) -> float:
    """`reads` reads of the first key by 100 clients, from our own load when there is no h2load.

    Returns: reads per second. Raises: LoadFailed; subprocess.TimeoutExpired or TimeoutError.
    """
    request = message(pb.RangeRequest(key=KEY % 0, serializable=serializable).SerializeToString())
    if h2load is None:
        return call(
            [endpoint],
            PATH,
            lambda: request,
            connections=CONNECTIONS,
            in_flight=IN_FLIGHT,
            calls=reads,
            timeout_s=timeout_s,
        ).rate
    with tempfile.NamedTemporaryFile() as body:
        body.write(request)
        body.flush()
        command = [h2load, f"-c{CONNECTIONS}", f"-m{IN_FLIGHT}", "-t1", f"-n{reads}", "-d", body.name]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", endpoint + PATH]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
    succeeded = re.search(r"(\d+) succeeded", done.stdout)
    # gRPC refuses with HTTP status 200: only the bytes tell that every answer had the value.
    data = re.search(r"\((\d+)\) data", done.stdout)
    if not rate or not succeeded or not data or int(succeeded[1]) != reads or int(data[1]) < reads * VALUE_BYTES:
        raise LoadFailed(f"h2load: {done.stdout[-600:]}{done.stderr[-300:]}")
    return float(rate[1])
