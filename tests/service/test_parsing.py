"""What the HTTP parser of the service refuses before it costs much time."""

from __future__ import annotations

import h11
import pytest

from cloudburst.service.http_parser import (
    MAX_HEAD_BYTES,
    MAX_HEAD_LINES,
    MIN_MEAN_CHUNK_BYTES,
    UNCHECKED_CHUNKS,
    BoundedParser,
)

UPLOAD = b"PUT /files/x HTTP/1.1\r\nHost: x\r\n"
CHUNKED = UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n"
ONE_READ = 256 * 1024
"""Bytes that asyncio reads at once."""


def chunks(number: int, size: int) -> bytes:
    return (b"%x\r\n%s\r\n" % (size, b"x" * size)) * number


def events_until_more_is_needed(parser: BoundedParser) -> list[object]:
    found: list[object] = []
    while (event := parser.next_event()) is not h11.NEED_DATA:
        found.append(event)
        if event is h11.PAUSED:
            break
    return found


def body_of(raw: bytes) -> bytes:
    parser = BoundedParser()
    parser.receive_data(CHUNKED)
    events_until_more_is_needed(parser)
    parser.body_paused = False
    parser.receive_data(raw + b"0\r\n\r\n")
    found = events_until_more_is_needed(parser)
    assert isinstance(found[-1], h11.EndOfMessage)
    return b"".join(event.data for event in found if isinstance(event, h11.Data))


def test_a_chunked_body_is_parsed_only_when_it_is_released() -> None:
    parser = BoundedParser()
    parser.receive_data(CHUNKED + chunks(3, 1))
    assert [type(event) for event in events_until_more_is_needed(parser)] == [h11.Request]
    parser.receive_data(b"no chunk at all")
    assert events_until_more_is_needed(parser) == []
    parser.body_paused = False
    assert isinstance(parser.next_event(), h11.Data)


def test_the_next_request_is_parsed_after_a_chunked_body() -> None:
    parser = BoundedParser()
    for _ in range(2):
        parser.receive_data(CHUNKED + chunks(UNCHECKED_CHUNKS, 1) + b"0\r\n\r\n")
        assert len(events_until_more_is_needed(parser)) == 1
        parser.body_paused = False
        assert len(events_until_more_is_needed(parser)) == UNCHECKED_CHUNKS + 1
        parser.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        parser.send(h11.EndOfMessage())
        parser.start_next_cycle()


def test_a_body_may_have_some_chunks_of_any_size_and_any_number_of_normal_ones() -> None:
    few, normal = chunks(UNCHECKED_CHUNKS, 1), chunks(2 * UNCHECKED_CHUNKS, MIN_MEAN_CHUNK_BYTES)
    assert len(body_of(few)) == UNCHECKED_CHUNKS
    assert len(body_of(normal)) == 2 * UNCHECKED_CHUNKS * MIN_MEAN_CHUNK_BYTES


@pytest.mark.parametrize("size", [1, MIN_MEAN_CHUNK_BYTES - 1])
def test_a_body_of_many_tiny_chunks_is_refused(size: int) -> None:
    with pytest.raises(h11.RemoteProtocolError, match="too small"):
        body_of(chunks(UNCHECKED_CHUNKS + 1, size))


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_head_of_many_lines_is_refused_although_it_came_at_once(end: bytes) -> None:
    lines = b"GET / HTTP/1.1", b"Host: x", *[b"a: b"] * (MAX_HEAD_LINES - 3)
    parser = BoundedParser()
    parser.receive_data(end.join((*lines, b"", b"")))
    assert isinstance(parser.next_event(), h11.Request)
    parser = BoundedParser()
    parser.receive_data(end.join((*lines, b"a: b", b"", b"")))
    with pytest.raises(h11.RemoteProtocolError):
        parser.next_event()


def test_a_long_head_is_refused_although_it_came_at_once() -> None:
    parser = BoundedParser()
    parser.receive_data(UPLOAD + b"X-Long: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n")
    with pytest.raises(h11.RemoteProtocolError):
        parser.next_event()


def test_lines_of_a_body_and_of_pipelined_requests_do_not_count_as_lines_of_a_head() -> None:
    body = b"\n" * ONE_READ
    parser = BoundedParser()
    parser.receive_data(UPLOAD + b"Content-Length: %d\r\n\r\n" % len(body) + body + UPLOAD * 100)
    kinds = [type(event) for event in events_until_more_is_needed(parser)[:3]]
    assert kinds == [h11.Request, h11.Data, h11.EndOfMessage]


def test_a_body_with_two_ends_is_refused() -> None:
    parser = BoundedParser()
    parser.receive_data(UPLOAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(h11.RemoteProtocolError, match="Length"):
        parser.next_event()
