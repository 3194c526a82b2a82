# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 as no client library sends it. After each case the node serves others as before."""
import gzip
import os
import socket
import struct

import pytest

from harness.wire import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM,
                          SETTINGS, WINDOW_UPDATE, Closed, Connection, frame, grpc_headers, message)

OK, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 3, 8, 12, 13


@pytest.fixture(autouse=True)
def serves_afterwards(node):
    yield
    assert node.status().state == 1


@pytest.fixture
def connection(node):
    with Connection(node.address) as c:
        yield c


def test_a_plain_call(connection, pb):
    response = connection.call("GetStatus")
    assert response.http_status == 200
    assert response.headers["content-type"].startswith("application/grpc")
    assert response.grpc_status == OK
    compressed, length = struct.unpack(">BI", response.data[:5])
    assert (compressed, length) == (0, len(response.data) - 5)
    assert pb.GetStatusResponse.FromString(response.data[5:]).version


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"])
def test_content_types_that_are_grpc(connection, content_type):
    assert connection.call("GetStatus", content_type=content_type).grpc_status == OK


@pytest.mark.parametrize("content_type", ["application/json", "text/html", "application/grpc-web", "application/grpcx", "", None])
def test_content_types_that_are_not(connection, content_type):
    assert connection.call("GetStatus", content_type=content_type).http_status == 415
    connection.ping()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "CONNECTX", "post"])
def test_methods_other_than_post(connection, method):
    response = connection.call("GetStatus", h_method=method)
    assert response.http_status == 405
    connection.ping()


def test_no_te_trailers_is_tolerated_or_refused(connection):
    response = connection.call("GetStatus", te=None)
    assert response.http_status in (200, 400)
    connection.ping()


@pytest.mark.parametrize("timeout, code", [("1S", OK), ("99999999H", OK), ("5000m", OK), ("", None), ("1", None), ("S", None),
                                           ("-1S", None), ("123456789S", None), ("1x", None), ("1 S", None)])
def test_grpc_timeout(connection, timeout, code):
    """A deadline that is none is refused or ignored, by the documents of gRPC either; it never hangs the call."""
    response = connection.call("GetStatus", grpc_timeout=timeout)
    assert response.grpc_status in ([code] if code is not None else [OK, INVALID_ARGUMENT, INTERNAL])
    connection.ping()


def test_deadline_passes(connection, node, pb):
    task_id = node.submit("import time; time.sleep(1000)")
    response = connection.call("WaitTask", pb.WaitTaskRequest(task_id=task_id).SerializeToString(), grpc_timeout="100m")
    assert response.grpc_status == 4
    node.stop_task(task_id)


def test_request_without_a_message(connection):
    connection.send_headers(1, grpc_headers("GetStatus"), END_HEADERS | END_STREAM)
    assert connection.response(1).grpc_status not in (None, OK)
    connection.send_headers(3, grpc_headers("GetStatus"))
    connection.send_data(3, b"")
    assert connection.response(3).grpc_status not in (None, OK)


def test_two_messages_for_a_unary_call(connection):
    connection.send_headers(1, grpc_headers("GetStatus"))
    connection.send_data(1, message(b"") + message(b""))
    assert connection.response().grpc_status not in (None, OK)


@pytest.mark.parametrize("body", [b"\0", b"\0\0\0\0", message(b"abc", length=100), message(b"abc", length=4)])
def test_cut_off_message(connection, body):
    connection.send_headers(1, grpc_headers("GetTask"))
    connection.send_data(1, body)
    assert connection.response().grpc_status in (INVALID_ARGUMENT, INTERNAL)
    connection.ping()


def test_message_that_is_announced_larger_than_allowed(connection):
    """Refused at the announcement: nobody waits for 4 GB."""
    connection.send_headers(1, grpc_headers("ExecuteTask"))
    connection.send_data(1, message(b"abc", length=0xffffffff), 0)
    assert connection.response().grpc_status == RESOURCE_EXHAUSTED
    connection.ping()


def test_announced_memory_is_not_taken(node):
    """100 uploads that announce 100 MB each and send nothing cost next to nothing."""
    connections = []
    try:
        before = resident(node)
        for _ in range(100):
            c = Connection(node.address)
            connections.append(c)
            c.send_headers(1, grpc_headers("ExecuteTask"))
            c.send_data(1, message(b"abc", length=100 * 1024 * 1024), 0)
            c.ping()
        assert resident(node) - before < 64 * 1024 * 1024
    finally:
        for c in connections:
            c.socket.close()


def resident(node):
    with open(f"/proc/{node.process.pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_compressed_flag_without_encoding(connection):
    connection.send_headers(1, grpc_headers("GetStatus"))
    connection.send_data(1, message(b"", compressed=1))
    assert connection.response().grpc_status == INTERNAL


def test_compressed_flag_that_is_neither_0_nor_1(connection):
    connection.send_headers(1, grpc_headers("GetStatus"))
    connection.send_data(1, message(b"", compressed=7))
    assert connection.response().grpc_status in (INTERNAL, UNIMPLEMENTED)


def test_unknown_encoding(connection):
    response = connection.call("GetStatus", grpc_encoding="snappy")
    if response.grpc_status != OK:  # nothing was compressed, so both are right
        assert response.grpc_status == UNIMPLEMENTED
    connection.send_headers(3, grpc_headers("GetStatus", grpc_encoding="snappy"))
    connection.send_data(3, message(b"xyz", compressed=1))
    response = connection.response(3)
    assert response.grpc_status == UNIMPLEMENTED
    accepted = response.headers.get("grpc-accept-encoding", "") + response.trailers.get("grpc-accept-encoding", "")
    assert "gzip" in accepted


@pytest.mark.parametrize("body", [b"not gzip at all", gzip.compress(b"x" * 100)[:-10], b"", gzip.compress(b"") + b"rest"])
def test_broken_gzip(connection, body):
    connection.send_headers(1, grpc_headers("GetTask", grpc_encoding="gzip"))
    connection.send_data(1, message(body, compressed=1))
    assert connection.response().grpc_status in (INVALID_ARGUMENT, INTERNAL)
    connection.ping()


def test_gzip_bomb(connection):
    """200 kB that unpack to 200 MB."""
    connection.send_headers(1, grpc_headers("ExecuteTask", grpc_encoding="gzip"))
    body = message(gzip.compress(bytes(200 * 1024 * 1024), 9), compressed=1)
    for i in range(0, min(len(body), 60000), 16000):  # within the first flow control window
        connection.send_data(1, body[i:i + 16000], 0)
    if len(body) > 64000:
        connection.until(lambda: 1 in connection.responses or connection.settings is not None)
        for i in range(64000, len(body), 16000):
            if 1 in connection.responses and connection.responses[1].over:
                break
            connection.send_data(1, body[i:i + 16000], 0)
            connection.ping()
    assert connection.response().grpc_status == RESOURCE_EXHAUSTED


def test_one_byte_at_a_time(node, connection, pb):
    """A slow client gets its answer, and nobody else waits for it: between any two bytes another call is served."""
    encoded = connection.encoder.encode(connection.with_token(grpc_headers("ExecuteTask")))
    request = pb.ExecuteTaskRequest(task_id="dripped", task_type="python", task_data=b"result = 1")
    raw = frame(HEADERS, END_HEADERS, 1, encoded) + frame(DATA, END_STREAM, 1, message(request.SerializeToString()))
    for i in range(len(raw)):
        connection.send(raw[i:i + 1])
        assert node.status().state == 1
    assert connection.response().grpc_status == OK
    assert node.wait("dripped")[1] == b"1"


@pytest.mark.parametrize("cut", [1, 8, 9, 12, 30])
def test_client_that_vanishes_inside_a_frame(node, cut):
    with Connection(node.address) as c:
        raw = frame(HEADERS, END_HEADERS, 1, c.encoder.encode(grpc_headers("ExecuteTask")))
        c.send(raw[:cut])
        if cut % 2:
            c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by RST


def test_client_that_vanishes_while_it_waits(node, pb):
    """Its wait goes away with it; the task does not."""
    task_id = node.submit("print('up', flush=True)\nimport time; time.sleep(1000)")
    node.wait_for_output(task_id, b"up")
    connections = [Connection(node.address) for _ in range(10)]
    for c in connections:
        c.send_headers(1, grpc_headers("WaitTask"))
        c.send_data(1, message(pb.WaitTaskRequest(task_id=task_id).SerializeToString()))
        c.ping()
    for c in connections:
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.socket.close()
    assert node.get(task_id).state == pb.Task.RUNNING
    node.stop_task(task_id)


def test_client_that_vanishes_after_its_upload(node, pb):
    """Whether the task was taken or not: asking again by the same id gives one task, run once."""
    request = pb.ExecuteTaskRequest(task_id="vanished", task_type="python", task_data=b"print('ran')")
    with Connection(node.address) as c:
        c.send_headers(1, grpc_headers("ExecuteTask"))
        c.send_data(1, message(request.SerializeToString()))
    assert node.stub.ExecuteTask(request, timeout=30).success
    node.wait("vanished")
    assert node.output("vanished") == b"ran\n"


def test_client_that_never_reads(node, pb):
    """A log of many MB waits in the task's file and not in memory for a client that does not take it."""
    task_id = node.submit("import sys\nfor i in range(30): sys.stdout.write('x' * 1000000)")
    node.wait(task_id)
    before = resident(node)
    with Connection(node.address) as c:
        c.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1 - 65535)))
        c.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)))  # all window at once
        c.ping()
        c.send_headers(1, grpc_headers("StreamLogs"))
        c.send_data(1, message(pb.StreamLogsRequest(task_id=task_id).SerializeToString()))
        for _ in range(20):
            assert node.status().state == 1
        assert resident(node) - before < 24 * 1024 * 1024


def test_no_http2_at_all(node):
    for greeting in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\0" * 64, b"PRI * HTTP/1.1\r\n\r\n"):
        with Connection(node.address, preface=False) as c:
            c.send(greeting + b"\0" * 64)
            c.until_closed()


def test_preface_in_pieces(node):
    with Connection(node.address, preface=False) as c:
        for byte in PREFACE + frame(SETTINGS):
            c.send(bytes([byte]))
        c.ping()


BROKEN = {
    "frame too large": frame(DATA, 0, 1, length=0xffffff) + b"x" * 100,
    "settings of odd size": frame(SETTINGS, 0, 0, b"abc"),
    "settings on a stream": frame(SETTINGS, 0, 1),
    "settings ack with payload": frame(SETTINGS, ACK, 0, b"123456"),
    "ping of odd size": frame(PING, 0, 0, b"abc"),
    "data on stream 0": frame(DATA, 0, 0, b"abc"),
    "data on an idle stream": frame(DATA, 0, 7, b"abc"),
    "headers on stream 0": frame(HEADERS, END_HEADERS, 0, b"\x82"),
    "headers on an even stream": frame(HEADERS, END_HEADERS, 2, b"\x82"),
    "hpack index out of range": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\x7f"),
    "hpack cut": frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40\x7f"),
    "continuation without headers": frame(CONTINUATION, END_HEADERS, 1, b"\x82"),
    "other frame inside headers": frame(HEADERS, 0, 1, b"\x83") + frame(PING, 0, 0, b"12345678"),
    "window update of zero": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"),
    "window overflow": frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "rst on stream 0": frame(RST_STREAM, 0, 0, b"\0\0\0\0"),
    "push from a client": frame(5, END_HEADERS, 1, b"\0\0\0\2\x82"),
    "padding beyond the frame": frame(HEADERS, END_HEADERS | 0x8, 1, b"\xff\x82"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_http2_ends_the_connection(node, name):
    with Connection(node.address) as c:
        c.ping()
        try:
            c.send(BROKEN[name])
        except Closed:
            pass
        goaway = c.until_closed()
        assert goaway is None or goaway[1] != 0


def test_unknown_frames_are_ignored(connection):
    connection.send(frame(0x42, 0xff, 0, b"whatever") + frame(0x99, 0, 5, b""))
    connection.ping()


BAD_REQUESTS = {
    "no path": {"h_path": None}, "no method": {"h_method": None}, "connection header": {"connection": "close"},
    "te other than trailers": {"te": "gzip"}, "upper case": {"X-Upper": "1"},
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_malformed_requests_hurt_only_themselves(connection, name):
    connection.send_headers(1, grpc_headers("GetStatus", **BAD_REQUESTS[name]))
    try:
        connection.send_data(1, message(b""))
        response = connection.response(1)
    except Closed:
        return
    assert response.reset is not None or response.http_status >= 400 or response.grpc_status != OK


def test_headers_beyond_the_limit(node):
    with Connection(node.address) as c:
        for i, size in enumerate((20_000, 200_000)):
            stream = 2 * i + 1
            block = c.encoder.encode([*grpc_headers("GetStatus"), ("x-large", "y" * size)])
            c.send(frame(HEADERS, 0, stream, block[:16000]))
            rest = [block[n:n + 16000] for n in range(16000, len(block), 16000)] or [b""]
            try:
                for n, piece in enumerate(rest):
                    c.send(frame(CONTINUATION, END_HEADERS if n == len(rest) - 1 else 0, stream, piece))
                c.send_data(stream, message(b""))
                response = c.response(stream)
            except Closed:
                return
            assert response.reset is not None or response.http_status == 431 or response.grpc_status == RESOURCE_EXHAUSTED


def test_hpack_bomb(node):
    """One large header in the table, then thousands of references of one byte to it."""
    with Connection(node.address) as c:
        large = b"\x40\x01x" + b"\x7f" + hpack_length(3000 - 127) + b"y" * 3000
        head = c.encoder.encode(grpc_headers("GetStatus"))
        try:
            c.send(frame(HEADERS, 0, 1, head + large))
            for _ in range(8):
                c.send(frame(CONTINUATION, 0, 1, b"\xbe" * 16000))
            c.send(frame(CONTINUATION, END_HEADERS, 1, b"\xbe" * 1000))
            c.send_data(1, message(b""))
            response = c.response()
        except Closed:
            return
        assert response.grpc_status != OK or response.reset is not None


def hpack_length(value):
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def test_rapid_reset(node):
    """Streams opened and reset at once, again and again: cut off, or served without growing."""
    before = resident(node)
    with Connection(node.address) as c:
        headers = c.encoder.encode(grpc_headers("GetStatus"))
        headers = c.encoder.encode(grpc_headers("GetStatus"))  # the second time all is indexed
        try:
            for batch in range(100):
                raw = b"".join(
                    frame(HEADERS, END_HEADERS, 2 * (batch * 200 + i) + 1, headers) +
                    frame(RST_STREAM, 0, 2 * (batch * 200 + i) + 1, struct.pack(">I", 8)) for i in range(200))
                c.send(raw)
            c.ping()
        except (Closed, TimeoutError):
            pass
    assert resident(node) - before < 32 * 1024 * 1024


@pytest.mark.parametrize("kind, payload", [(PING, b"12345678"), (SETTINGS, b"")])
def test_floods_do_not_grow_the_node(node, kind, payload):
    """Frames that want an answer, from a client that reads none."""
    before = resident(node)
    with Connection(node.address) as c:
        c.socket.settimeout(5)
        try:
            for _ in range(200):
                c.send(frame(kind, 0, 0, payload) * 1000)
        except (Closed, TimeoutError):
            pass
        assert node.status().state == 1
    assert resident(node) - before < 32 * 1024 * 1024


def test_cancelled_streams(connection, node, pb):
    task_id = node.submit("import time; time.sleep(1000)")
    body = message(pb.WaitTaskRequest(task_id=task_id).SerializeToString())
    for stream in range(1, 201, 2):
        connection.send_headers(stream, grpc_headers("WaitTask"))
        connection.send_data(stream, body)
    connection.ping()
    for stream in range(1, 201, 2):
        connection.send(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))
    connection.ping()
    assert connection.call("GetStatus", stream=201).grpc_status == OK
    node.stop_task(task_id)


def test_more_connections_than_most(node):
    connections = [Connection(node.address) for _ in range(300)]
    try:
        for c in connections:
            c.ping()
        assert connections[-1].call("GetStatus").grpc_status == OK
    finally:
        for c in connections:
            c.socket.close()


def test_goaway_from_the_client(connection):
    connection.send_headers(1, grpc_headers("GetStatus"))
    connection.send(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))
    connection.send_data(1, message(b""))
    assert connection.response().grpc_status == OK
