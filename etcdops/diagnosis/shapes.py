"""What lines have in common. Lines of one *shape* match the same rules, and lines of one *outline* are of one shape.

The outline of a line is the line without its numbers. Its shape is without what clients wrote into it, too.
"""

from __future__ import annotations

from hashlib import blake2b
from io import BytesIO

_DIGITS = b"0123456789"
_LETTERS = bytes(ord("a") if byte in b"bcdef" else byte for byte in range(256))
"""With `_DIGITS` left out, the bytes' form of `match.SHAPE`."""
LINE_MAX = 16_384
"""What of a line is understood. Longer ones carry stack traces or requests."""
_SHAPE_LENGTH_MAX = 500


def outlines_of(text: bytes, *, short: bool = False) -> list[bytes]:
    """One for each line of a text, with a newline at its end. `short`: without what clients wrote, as far as is known.

    That is worth its time where clients' words make all outlines differ.
    """
    if not text.endswith(b"\n"):
        text += b"\n"  # the last line of a log may end without, and would be none if it is nothing but numbers
    return BytesIO(_outline(_without_requests(text) if short else text)).readlines()


def _outline(text: bytes) -> bytes:
    return text.translate(_LETTERS, _DIGITS)


_REQUEST, _REQUESTS = b'"request', (b'":"', b' content":"')
_ERROR = b'","error":"'
_TRACE = b'"msg":"trace['
_TEXT_REQUEST, _TEXT_RESULT = b' request "', b'" with re'
_REQUEST_OUTLINES = tuple(_outline(_REQUEST + begin) for begin in _REQUESTS)
_ERROR_OUTLINE, _TRACE_OUTLINE = _outline(_ERROR), _outline(_TRACE)
_TEXT_REQUEST_OUTLINE, _TEXT_RESULT_OUTLINE = _outline(_TEXT_REQUEST), _outline(_TEXT_RESULT)


def _without_requests(text: bytes) -> bytes:
    """Lines without what `shape_of` leaves out."""
    rest, *pieces = text.split(_REQUEST)
    kept = [rest]
    for piece in pieces:
        if not piece.startswith(_REQUESTS):
            kept += (_REQUEST, piece)
            continue
        # In a line of JSON a quote inside a request is never bare.
        end = piece.find(b"\n")
        error = piece.find(_ERROR, 0, end if end >= 0 else len(piece))
        if error >= 0:
            kept.append(piece[error:])
        elif end >= 0:
            kept.append(piece[end:])
    text = b"".join(kept) if pieces else text
    rest, *pieces = text.split(_TRACE)
    if pieces:
        return _TRACE.join([rest, *(piece[end:] for piece in pieces if (end := piece.find(b"\n")) >= 0)])
    rest, *pieces = text.split(_TEXT_REQUEST)
    ends = [max(0, piece.rfind(_TEXT_RESULT, 0, piece.find(b"\n") + 1)) for piece in pieces]
    return _TEXT_REQUEST.join([rest, *(piece[end:] for piece, end in zip(pieces, ends, strict=True))])


def shape_of(outline: bytes) -> bytes:
    """The shape of the lines of an outline. That of long ones is a digest."""
    # One letter is found much sooner than a word, and these two are rare.
    if b"[" in outline and _TRACE_OUTLINE in outline:
        # A traced request has a number of its own, and steps with what a client asked for.
        return outline[: outline.find(_TRACE_OUTLINE) + len(_TRACE_OUTLINE)] + b"\n"
    if b"q" in outline:
        outline = _without_request(outline)
    if len(outline) > _SHAPE_LENGTH_MAX:
        return blake2b(outline[:LINE_MAX], digest_size=16).digest()
    return outline


def _without_request(outline: bytes) -> bytes:
    """Without the request and what was answered, in which clients may write any words. An error is kept."""
    for request in _REQUEST_OUTLINES:
        begin = outline.find(request)
        if begin >= 0:
            error = outline.find(_ERROR_OUTLINE, begin)
            return outline[:begin] + (outline[error:] if error >= 0 else b"\n")
    begin, end = outline.find(_TEXT_REQUEST_OUTLINE), outline.rfind(_TEXT_RESULT_OUTLINE)
    return outline[: begin + len(_TEXT_REQUEST_OUTLINE)] + outline[end:] if 0 <= begin < end else outline
