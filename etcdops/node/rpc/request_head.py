"""The headers of a call, read once: where it goes, how long it may take, what it carries along.

Every refusal has the HTTP status and the words grpc-go answers with.
Source: grpc-go internal/transport/http2_server.go, http2Server.operateHeaders.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from etcdops.node.go_text import quote
from etcdops.node.rpc.http2 import Headers
from etcdops.node.rpc.responses import CONTENT_TYPE, HEAD, head_of
from etcdops.node.rpc.service import Metadata, RpcError, StatusCode

_RESERVED = frozenset(
    {b"content-type", b"te", b"grpc-encoding", b"grpc-timeout", b"grpc-message-type", b"grpc-status", b"grpc-message"}
)
_PSEUDO = frozenset({b":method", b":path", b":scheme", b":authority"})
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-z]+")
_UNFIT_IN_VALUES = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_UNIT_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_SECONDS_MAX = 10.0 * 365 * 86400  # a deadline so far off needs no timer


class HeadRefused(Exception):
    """A request that is no gRPC call: answered with an HTTP status besides the gRPC one, then closed."""

    def __init__(self, http_status: int, error: RpcError) -> None:
        super().__init__(http_status, error)
        self.http_status = http_status
        self.error = error


class HeadMalformed(Exception):
    """A request that breaks HTTP/2 itself: its stream is reset with PROTOCOL_ERROR."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the headers say, except the deadline: so one head serves all calls that differ in nothing else."""

    path: str
    metadata: Metadata
    encoding: str
    answer: Headers = HEAD
    """How the answer begins: with the client's content type, as grpc-go writes it down."""


def parse_head(headers: Headers) -> RequestHead:
    """Read a request's headers. Raises: HeadRefused, HeadMalformed."""
    _check_form(headers)
    metadata: dict[str, str | bytes] = {}
    path = method = encoding = ""
    content_type = b""
    problem: RpcError | None = None
    hosts = authorities = 0
    for name, value in headers:
        if name == b":path":
            path = _text(value)
        elif name == b":method":
            method = _text(value)
        elif name == b":authority":
            authorities += 1
        elif name == b"content-type":
            content_type = value
        elif name == b"grpc-encoding":
            encoding = _text(value)
        elif name == b"connection":
            raise HeadMalformed("a request with the header connection")
        elif name in _RESERVED or name.startswith(b":"):
            continue
        else:
            hosts += name == b"host"
            try:
                metadata[_text(name)] = decode_metadata(name, value)
            except ValueError as error:
                shown = f"{quote(_text(value))} in header {quote(_text(name))}"
                problem = RpcError(StatusCode.INTERNAL, f"malformed binary metadata {shown}: {error}")
    if authorities > 1 or hosts > 1:
        message = f"num values of :authority: {authorities}, num values of host: {hosts}, both must only have 1 value"
        raise HeadRefused(400, RpcError(StatusCode.INTERNAL, f"{message} as per HTTP/2 spec"))
    if not _is_grpc(content_type):
        shown = quote(_text(content_type))
        raise HeadRefused(415, RpcError(StatusCode.INVALID_ARGUMENT, f"invalid gRPC request content-type {shown}"))
    if problem is not None:
        raise HeadRefused(400, problem)
    if method != "POST":
        message = f"Received a HEADERS frame with :method {quote(method)} which should be POST"
        raise HeadRefused(405, RpcError(StatusCode.INTERNAL, message))
    return RequestHead(path, metadata, encoding, head_of(_answered_type(content_type)))


def _check_form(headers: Headers) -> None:
    """What every HTTP/2 server refuses, before anything is read into it.

    Raises: HeadMalformed. Source: RFC 9113 section 8.2 and 8.3; golang.org/x/net/http2 frame.go, readMetaFrame.
    """
    seen: set[bytes] = set()
    regular = False
    for name, value in headers:
        if name.startswith(b":"):
            if regular or name in seen or name not in _PSEUDO:
                raise HeadMalformed(f"the pseudo header {_text(name)} twice, unknown, or after other headers")
            seen.add(name)
        else:
            regular = True
            if not _NAME.fullmatch(name):
                raise HeadMalformed(f"the header name {quote(_text(name))}")
        if _UNFIT_IN_VALUES.search(value):
            raise HeadMalformed(f"control characters in the header {_text(name)}")


def split_timeout(headers: Headers) -> tuple[Headers, bytes | None]:
    """The headers without `grpc-timeout`, and its value; None when the client set no deadline."""
    for name, value in headers:
        if name == b"grpc-timeout":
            return tuple([field for field in headers if field[0] != b"grpc-timeout"]), value
    return headers, None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _is_grpc(content_type: bytes) -> bool:
    return content_type.startswith(CONTENT_TYPE) and content_type[16:17] in (b"", b"+", b";")


def _answered_type(content_type: bytes) -> bytes:
    """The client's sub-type is said back, whatever it is: the messages are protobuf all the same.

    Source: grpc-go internal/grpcutil/method.go, ContentSubtype and ContentType.
    """
    subtype = content_type[17:].lower()
    return CONTENT_TYPE + b"+" + subtype if subtype else CONTENT_TYPE


def decode_metadata(name: bytes, value: bytes) -> str | bytes:
    """A header's value: bytes for names ending in -bin. Raises: ValueError - broken base64, in Go's words."""
    if not name.endswith(b"-bin"):
        return _text(value)
    # Padded when the size says so, as grpc-go takes it: then "=" may only end a whole group of four.
    padding = len(value) - len(value.rstrip(b"=")) if len(value) % 4 == 0 else 0
    content = value[: len(value) - padding]
    wrong = _NO_BASE64.search(content)
    if wrong or padding > 2 or len(content) % 4 == 1:
        at = wrong.start() if wrong else len(content) - (0 if padding else 1)
        raise ValueError(f"illegal base64 data at input byte {at}")
    try:
        return base64.b64decode(content + b"=" * (-len(content) % 4))
    except binascii.Error as error:
        raise ValueError("illegal base64 data") from error


def read_timeout(value: bytes) -> float:
    """Seconds of a `grpc-timeout` header. Raises: HeadRefused."""
    try:
        return parse_timeout(_text(value))
    except ValueError as error:
        raise HeadRefused(400, RpcError(StatusCode.INTERNAL, f"malformed grpc-timeout: {error}")) from error


def parse_timeout(text: str) -> float:
    """Seconds of a timeout: up to 8 digits and a unit.

    Raises: ValueError with grpc-go's words. Source: grpc-go internal/transport/http_util.go, decodeTimeout.
    """
    if len(text) < 2:
        raise ValueError(f"transport: timeout string is too short: {quote(text)}")
    if len(text) > 9:
        raise ValueError(f"transport: timeout string is too long: {quote(text)}")
    unit = _UNIT_SECONDS.get(text[-1])
    if unit is None:
        raise ValueError(f"transport: timeout unit is not recognized: {quote(text)}")
    digits = text[:-1]
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"strconv.ParseUint: parsing {quote(digits)}: invalid syntax")
    return min(int(digits) * unit, _SECONDS_MAX)
