"""Where the node's bytes differ from those of etcd 3.5 (golden/wire), and why: section -> case -> reason.

etcd 3.5.16 is built with grpc-go 1.64 here. Where grpc-go has become stricter since, the node is as strict.
"""

from __future__ import annotations

_WIRE_TYPE = "a known field of another wire type is one nobody knows, to protobuf and to etcd 3.7"
_UTF8 = "X22: text that is no UTF-8 is refused, as in 3.7"
_HEAD = "a stream's head is sent when it is accepted, not with the first message"
_WAITS = "etcd never answers a call that is ended by its HEADERS without a message"
_UNPACKED = "answers are never packed: clients are near"
_GZIP_SIZE = "grpc-go of 2026 unpacks no more than the limit, instead of believing the size at the end"
_TIMEOUT = "grpc-go takes no sign in a timeout since 1.73, and names another function of Go"
_SLASH = "grpc-go takes no path without a slash since March 2026 (CVE-2026-33186)"
_RULES = "RFC 9113 asks for the end of the connection"
_SAYS_WHY = "the connection ends with a reason; Go's only ends"
_OWN_WORDS = "the reason is in the node's words"
_LIMITS = "the node announces and keeps limits of its own (rpc/limits.py, rpc/http2.py)"
_NOT_TOLD = "what runs on the machine is not told to everybody; from 3.6 on etcd does not either"
_NO_GATEWAY = "not fulfilled: the node has no JSON gateway"
_PARSER = "refused by aiohttp's parser, with a reason"

DIFFERENT: dict[str, dict[str, str]] = {
    "messages": {
        "a number where bytes belong": _WIRE_TYPE,
        "bytes where a number belongs": _WIRE_TYPE,
        "a compare with a cut value": _WIRE_TYPE,
        "a name that is no UTF-8": _UTF8,
        "a URL that is no UTF-8": _UTF8,
    },
    "streams": {
        "Watch: wrong wire type": _WIRE_TYPE,
        "Watch: nothing of the union": _HEAD,
    },
    "calls": {
        "no message": _WAITS,
        "gzip": _UNPACKED,
        "gzip, but plain": _UNPACKED,
        "gzip, asking for gzip": _UNPACKED,
        "gzip cut short": _GZIP_SIZE,
        "a bomb": _GZIP_SIZE,
        "path 'a/b'": _SLASH,
        **{f"grpc-timeout {text!r}": _TIMEOUT for text in ("xS", "+1S", "1.5S", "1 S", " 1S", "1_0S")},
    },
    "frames": {
        **dict.fromkeys(
            (
                "CONTINUATION of nothing", "DATA on stream 0", "HEADERS on stream 0", "HEADERS nobody can decode",
                "RST_STREAM on stream 0", "RST_STREAM of 3 bytes", "SETTINGS on a stream", "SETTINGS of 5 bytes",
                "SETTINGS with a window of 2^31", "an acknowledgement with content", "PING of 7 bytes",
                "PING on a stream", "WINDOW_UPDATE of 0", "WINDOW_UPDATE of 3 bytes", "a frame of 16,385 bytes",
                "DATA padded beyond its end",
            ),
            _SAYS_WHY,
        ),
        **dict.fromkeys(
            (
                "PUSH_PROMISE", "DATA on a stream nobody opened", "RST_STREAM of nothing",
                "SETTINGS with frames of 1 byte", "SETTINGS with push 2", "WINDOW_UPDATE beyond 2^31",
            ),
            _RULES,
        ),
        "HEADERS on an even stream": _OWN_WORDS,
        "a stream number that goes back": _OWN_WORDS,
        "PRIORITY of 4 bytes": "priorities are read over, whatever their size: nobody sends them any more",
        "1 MB of headers": _LIMITS,
    },
    "connections": {"settings": _LIMITS},
    "http1": {
        "GET /debug/vars": _NOT_TOLD,
        "GET /v3/kv/range": _NO_GATEWAY,
        **{f"BREW {page}": _PARSER for page in ("/health", "/version", "/livez", "/nothing")},
        **dict.fromkeys(
            (
                "GET /health without a host", "GET /health of two hosts", "a request that is none",
                "a version that is none", "a header that is none",
            ),
            _PARSER,
        ),
    },
}  # fmt: skip
