# SPDX-License-Identifier: Apache-2.0
"""The gRPC service by REST (/api/v1): what it does, what it makes of bad input, and what comes piece by piece."""
import base64
import contextlib
import http.client
import json
import pathlib
import socket

import pytest

from harness import waiting
from harness.rest import JSON, Events, Rest, port_of, submit, wait

PYTHON = {"task_type": "python"}
SLEEP = "print('up', flush=True)\nimport time; time.sleep(600)"


@pytest.fixture(scope="module")
def shared(module_maker):
    """An open node for tests that leave it as it was."""
    return module_maker(authenticated=False, web=True, web_port=0).start()


@pytest.fixture
def rest(shared):
    return Rest(port_of(shared))


def test_a_task_from_its_source_to_its_result(rest):
    task = submit(rest, "import sys\nprint('out')\nprint('\\u00e9rr', file=sys.stderr)\nresult = {'a': [1, 2]}", labels={"k": "v"}, priority=3,
                  limits={"memory_bytes": 1 << 28}, timeout_ms=60000)
    state, result = wait(rest, task)
    assert (state["state"], state["reason"], json.loads(result)) == ("COMPLETED", "NONE", {"a": [1, 2]})
    assert (state["labels"], state["priority"], state["timeout_ms"]) == ({"k": "v"}, 3, 60000)
    detail = rest.get(f"/api/v1/tasks/{task}")[1]["task"]
    assert detail["limits"]["memory_bytes"] == 1 << 28 and detail["receipt"]["layers"] and detail["usage"]["wall_us"] > 0
    status, value, headers = rest.get(f"/api/v1/tasks/{task}/result")
    assert (status, value, headers["Content-Type"]) == (200, {"a": [1, 2]}, "application/json")
    assert rest.get(f"/api/v1/tasks/{task}/attempts")[1] == {"attempts": []}
    status, value, headers = rest.get(f"/api/v1/tasks/{task}/log")
    assert status == 200 and set(value.split(b"\n")) == {b"out", "érr".encode(), b""} and headers.get_content_type() == "text/plain"
    assert rest.get(f"/api/v1/tasks/{task}/log?stream=stderr")[1] == "érr\n".encode()
    chunks = rest.get(f"/api/v1/tasks/{task}/log/chunks")[1]
    assert {(c["stream"], c["text"]) for c in chunks["chunks"]} == {("stdout", "out\n"), ("stderr", "érr\n")}
    assert chunks["next_offset"] == chunks["chunks"][-1]["next_offset"]
    again = rest.get(f"/api/v1/tasks/{task}/log/chunks?offset={chunks['next_offset']}")[1]
    assert again == {"chunks": [], "next_offset": chunks["next_offset"]}


def test_task_data_is_bytes(rest):
    state, result = wait(rest, rest.post("/api/v1/tasks", {**PYTHON, "task_data": base64.b64encode(b"result = 'x'").decode()})[1]["task_id"])
    assert state["state"] == "COMPLETED" and result == b'"x"'


def test_pages_of_a_list(rest):
    tasks = [submit(rest, labels={"page": "yes"}) for _ in range(5)]
    for task in tasks:
        wait(rest, task)
    seen, page = [], ""
    while True:
        value = rest.get(f"/api/v1/tasks?labels=page%3Dyes&states=COMPLETED&states=FAILED&page_size=2&page_token={page}")[1]
        seen += [t["task_id"] for t in value["tasks"]]
        page = value["next_page_token"]
        if not page:
            break
    assert seen == tasks[::-1]
    assert rest.get("/api/v1/tasks?labels=page%3Dno")[1]["tasks"] == []


def test_pausing_resuming_stopping_repeating(rest):
    task = submit(rest, SLEEP)
    waiting.wait_until(lambda: rest.get(f"/api/v1/tasks/{task}")[1]["task"]["log_size"] > 0)
    assert rest.post(f"/api/v1/tasks/{task}/pause")[1]["task"]["paused"]
    assert not rest.post(f"/api/v1/tasks/{task}/resume")[1]["task"]["paused"]
    status, value, _ = rest.post(f"/api/v1/tasks/{task}/stop")
    assert status == 200 and value["task"]["state"] == "STOPPED"
    status, value, _ = rest.post(f"/api/v1/tasks/{task}/pause")
    assert status == 409 and task in value["detail"]
    status, value, _ = rest.post(f"/api/v1/tasks/{task}/retry", {"new_task_id": f"{task}-again"})
    assert status == 200 and value["task_id"] == f"{task}-again"
    assert rest.post(f"/api/v1/tasks/{task}-again/stop")[1]["task"]["retry_of"] == task


def test_a_batch(rest):
    value = rest.post("/api/v1/batches", {"tasks": [{**PYTHON, "task_data": base64.b64encode(b"result = %d" % i).decode()} for i in range(3)]})[1]
    assert [wait(rest, task)[1] for task in value["task_ids"]] == [b"0", b"1", b"2"]


def test_the_same_request_again(rest):
    first = submit(rest, headers={"Idempotency-Key": "a key / with \"all\" sorts"})
    assert submit(rest, headers={"Idempotency-Key": "a key / with \"all\" sorts"}) == first
    assert submit(rest, headers={"Idempotency-Key": "another"}) != first
    status, value, _ = rest.post("/api/v1/tasks", {**PYTHON, "source": "result = 2"}, headers={"Idempotency-Key": "another"})
    assert status == 409, value
    for body, key in (({"task_id": "own"}, "k"), ({}, ""), ({}, "x" * 256), ({"cache": "CACHE_USE"}, "k")):
        status, value, _ = rest.post("/api/v1/tasks", {**PYTHON, "source": "", **body}, headers={"Idempotency-Key": key})
        assert status == 400 and "Idempotency-Key" in value["detail"], value


@pytest.mark.parametrize("body, words", [
    ({"task_typ": "python"}, 'no field "task_typ"'), ({"retries": -1}, "retries"), ({"retries": 1 << 32}, "retries"), ({"retries": "1"}, "retries"),
    ({"retries": 1.5}, "retries"), ({"retries": True}, "retries"), ({"retries": None}, "retries"), ({"args": "x"}, "args"), ({"args": [1]}, "args"),
    ({"env": ["A"]}, "env"), ({"env": {"A": 1}}, "env"), ({"limits": []}, "limits"), ({"limits": {"memory": 1}}, "limits"),
    ({"limits": {"memory_bytes": -1}}, "limits: memory_bytes"), ({"network": "NETWORK_ALL"}, "NETWORK_HOST"), ({"network": 3}, "network"),
    ({"task_data": "*"}, "task_data"), ({"task_data": "\u00e9\u00e9\u00e9\u00e9"}, "task_data"), ({"task_data": "YQ=="}, "source"), ({"source": 1}, "source"),
    ({"inputs": [{"file_id": "x"}, 1]}, "inputs"), ({"fresh_interpreter": 1}, "fresh_interpreter"), ({"timeout_ms": 1 << 63}, ""),
    ({"a\x1b[31m": 1}, "no field"), ({"after": [[]]}, "after"), ({"task_id": "a/b"}, ""), ({"labels": {"": "x"}}, ""),
])
def test_bad_tasks(rest, body, words):
    status, value, _ = rest.post("/api/v1/tasks", {**PYTHON, "source": "result = 1", **body})
    assert status == 400 and words in value["detail"] and "\x1b" not in value["detail"], value


@pytest.mark.parametrize("query, status", [
    ("page_size=x", 400), ("page_size=-1", 400), ("page_size=1&page_size=2", 200), ("states=NONE", 400), ("states=", 400), ("labels=x", 400),
    ("what=1", 400), ("dead_letters=perhaps", 400), ("owner=%ff", 400), ("owner=%00", 400), ("owner=%", 400), ("owner=a&owner=b", 400),
    ("owner=" + "x" * 5000, 400), ("page_token=nonsense", 400), ("&&&", 400), ("owner", 200), ("dead_letters=yes", 200),
    ("created_from_us=99999999999999999999", 400),
])
def test_bad_parameters(rest, query, status):
    answer, value, _ = rest.get("/api/v1/tasks?" + query)
    assert answer == status, value


@pytest.mark.parametrize("path, status", [
    ("log?offset=1", 400), ("log?offset=x", 400), ("log?stream=none", 400), ("log?task_id=other", 400), ("log/chunks?max_bytes=0", 400),
    ("log/chunks?max_bytes=x", 400), ("log/chunks?max_bytes=1", 200), ("result?task_id=other", 400), ("log/", 404), ("/log", 404), ("result/x", 404),
])
def test_bad_questions_about_output(rest, path, status):
    task = submit(rest, "print('x')")
    wait(rest, task)
    answer, value, _ = rest.get(f"/api/v1/tasks/{task}/{path}")
    assert answer == status or (answer, status) == (416, 400), value


def test_a_result_that_is_not_there_yet(rest):
    task = submit(rest, SLEEP)
    assert rest.get(f"/api/v1/tasks/{task}/result")[0] == 409
    assert rest.get(f"/api/v1/tasks/{task}/wait?timeout_ms=1")[0] == 504
    rest.post(f"/api/v1/tasks/{task}/stop")


def test_output_that_a_browser_would_run(rest):
    """It is a text, whatever it says."""
    task = submit(rest, "print('<script>alert(1)</script>')\nresult = '<img src=x onerror=alert(1)>'")
    wait(rest, task)
    for path in ("log", "result", "log/chunks"):
        headers = rest.get(f"/api/v1/tasks/{task}/{path}")[2]
        assert headers.get_content_type() in ("text/plain", "application/json") and headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_bytes_that_are_no_text(rest):
    task = submit(rest, "import os; os.write(1, bytes(range(256)))")
    wait(rest, task)
    assert rest.get(f"/api/v1/tasks/{task}/log")[1] == bytes(range(256))
    text = rest.get(f"/api/v1/tasks/{task}/log/chunks")[1]["chunks"][0]["text"]
    assert "ABC" in text and "\ufffd" in text


def test_files_that_a_task_leaves(rest):
    task = submit(rest, "import pathlib\npathlib.Path('out').mkdir()\npathlib.Path('out/a b.bin').write_bytes(bytes(range(256)) * 4096)\n"
                        "pathlib.Path('out/empty').touch()", outputs=["out"])
    wait(rest, task)
    files = {f["filename"]: f for f in rest.get(f"/api/v1/files?prefix={task}/")[1]["files"]}
    assert set(files) == {f"{task}/out/a b.bin", f"{task}/out/empty"}
    file, whole = files[f"{task}/out/a b.bin"], bytes(range(256)) * 4096
    path = f"/api/v1/files/{file['file_id']}/content"
    status, value, headers = rest.get(path)
    assert (status, value) == (200, whole) and int(headers["Content-Length"]) == len(whole)
    assert headers["Content-Type"] == "application/octet-stream" and headers["Accept-Ranges"] == "bytes" and headers["ETag"] == f'"{file["sha256"]}"'
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%20b.bin"
    for asked, begin, end in (("bytes=0-9", 0, 10), ("bytes=1048570-", 1048570, 1048576), ("bytes=-6", 1048570, 1048576), ("bytes=300000-300000", 300000, 300001)):
        status, value, headers = rest.get(path, headers={"Range": asked})
        assert (status, value) == (206, whole[begin:end]) and headers["Content-Range"] == f"bytes {begin}-{end - 1}/{len(whole)}", asked
    status, value, headers = rest.get(path, headers={"Range": "bytes=1048576-"})
    assert (status, value) == (416, b"") and headers["Content-Range"] == f"bytes */{len(whole)}"
    assert rest.get(path, headers={"Range": "bytes=0-1,4-5"})[0] == 200
    assert rest.get(path, headers={"Range": "bytes=0-1", "If-Range": '"another"'})[0] == 200
    assert rest.get(path, headers={"Range": "bytes=0-1", "If-Range": f'"{file["sha256"]}"'})[0] == 206
    assert rest.get(f"/api/v1/files/{files[f'{task}/out/empty']['file_id']}/content")[:2] == (200, b"")
    assert rest.get(path + "?what=1")[0] == 400


def test_a_file_that_is_damaged(make_node):
    """It is never had as a whole, and neither is a part of it."""
    node = make_node(authenticated=False, web=True, web_port=0).start()
    rest = Rest(port_of(node))
    task = submit(rest, "open('x', 'wb').write(bytes(range(256)) * 4096)", outputs=["x"])
    wait(rest, task)
    file = rest.get(f"/api/v1/files?prefix={task}/")[1]["files"][0]
    path = f"/api/v1/files/{file['file_id']}/content"
    assert len(rest.get(path)[1]) == 1 << 20
    (blob,) = [p for p in node.storage.rglob("*") if p.is_file() and p.stat().st_size == 1 << 20 and p.read_bytes()[:256] == bytes(range(256))]
    with open(blob, "r+b") as content:
        content.seek(1000)
        content.write(b"damage")
    for asked in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=-9"}):
        with contextlib.suppress(http.client.IncompleteRead):
            status, _, _ = rest.get(path, headers=asked)
            assert status == 500, asked
    assert rest.get(f"/api/v1/files/{file['file_id']}")[1]["file"]["damaged"]


def test_watching_tasks(rest, shared):
    events = Events(port_of(shared), "/api/events")
    assert events.answer.status == 200 and events.answer.headers.get_content_type() == "text/event-stream"
    task = submit(rest)
    seen = []
    for number, kind, data in events:
        if data["task_id"] == task:
            seen.append((number, kind, data["kind"]))
        if data["kind"] == "COMPLETED":
            break
    events.close()
    assert [(kind, what) for _, kind, what in seen] == [("task", "ACCEPTED"), ("task", "STARTED"), ("task", "COMPLETED")]
    again = Events(port_of(shared), "/api/events", headers={"Last-Event-ID": str(seen[0][0])})
    assert [next(iter(again))[0]] == [seen[1][0]]
    again.close()
    lost = Events(port_of(shared), "/api/events", headers={"Last-Event-ID": str(1 << 60)})
    assert next(iter(lost))[1:] == ("failed", {"code": "OUT_OF_RANGE", "detail": next_detail(shared)})
    lost.close()


def next_detail(node):
    lost = Events(port_of(node), f"/api/events?after={1 << 60}")
    _, _, data = next(iter(lost))
    lost.close()
    return data["detail"]


def test_following_a_log(rest, shared):
    task = submit(rest, "import os\nprint('one', flush=True)\nos.open('/tmp/go', os.O_CREAT)\nimport time\nfor i in range(3):\n    print(i, flush=True)\n"
                        "    time.sleep(0.05)\nprint('end')")
    events = Events(port_of(shared), f"/api/v1/tasks/{task}/log/events")
    seen = list(events)
    assert seen[-1][1:] == ("end", {}) and "".join(data["text"] for _, kind, data in seen if kind == "output") == "one\n0\n1\n2\nend\n"
    events.close()
    first = seen[0][0]
    again = Events(port_of(shared), f"/api/v1/tasks/{task}/log/events", headers={"Last-Event-ID": str(first)})
    assert [n for n, _, _ in again][:-1] == [n for n, _, _ in seen][1:-1]
    again.close()
    assert rest.get(f"/api/v1/tasks/{task}/log?follow=true")[1] == b"one\n0\n1\n2\nend\n"


def test_watchers_that_go(rest, shared, pb):
    """Their calls end with them, and what they watched goes on."""
    task = submit(rest, SLEEP)
    for _ in range(20):
        events = Events(port_of(shared), f"/api/v1/tasks/{task}/log/events")
        assert next(iter(events))[1] == "output"
        events.close()
        events = Events(port_of(shared), "/api/events")
        events.close()
    assert rest.get(f"/api/v1/tasks/{task}")[1]["task"]["state"] == "RUNNING"
    rest.post(f"/api/v1/tasks/{task}/stop")


def bytes_read(node):
    """By the node's process, from whatever."""
    return int(pathlib.Path(f"/proc/{node.process.pid}/io").read_text().split("rchar: ")[1].split()[0])


def test_a_reader_that_does_not_read(make_node):
    """The node keeps a little of a long log for it, not all, and it gets the whole when it reads after all."""
    node = make_node(authenticated=False, web=True, web_port=0, max_log_size="200M").start()
    rest = Rest(port_of(node))
    task = submit(rest, "import os\nline = b'x' * 65535 + b'\\n'\nfor _ in range(1600):\n    os.write(1, line)")
    state, _ = wait(rest, task)
    assert state["log_size"] >= 100 << 20
    before = bytes_read(node)
    readers = [socket.create_connection(("127.0.0.1", rest.port), timeout=60) for _ in range(5)]
    for reader in readers:
        reader.sendall(f"GET /api/v1/tasks/{task}/log HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    for reader in readers:
        assert reader.recv(100, socket.MSG_PEEK)
    assert rest.get("/livez")[0] == 200
    assert bytes_read(node) - before < 100 << 20, "it is all read at once"
    with contextlib.closing(http.client.HTTPResponse(readers[0])) as answer:
        answer.begin()
        total = 0
        while piece := answer.read(1 << 20):
            total += len(piece)
    assert total == 1600 * 65536
    for reader in readers:
        reader.close()


def test_a_node_that_ends_under_its_watchers(make_node):
    node = make_node(authenticated=False, web=True, web_port=0).start()
    rest = Rest(port_of(node))
    task = submit(rest, SLEEP)
    streams = [Events(rest.port, path) for path in ("/api/events", f"/api/v1/tasks/{task}/log/events") for _ in range(3)]
    node.stop()
    for stream in streams:
        with contextlib.suppress(http.client.HTTPException, OSError):
            list(stream)
        stream.close()


def test_large_bodies(rest):
    status, value, _ = rest.post("/api/v1/tasks", "[", headers={**JSON, "Content-Length": str(17 << 20)})
    assert status == 413, value
    for body in ('{"args": [' + "[]," * 300_000 + "[]]}", '{"args": ' + "[" * 300_000, '{"args": [' + ",".join(['""'] * 250_000) + "]}"):
        status, value, _ = rest.post("/api/v1/tasks", body, headers=JSON)
        assert status in (400, 413), value
    assert rest.post("/api/v1/tasks", {**PYTHON, "source": "#" + '"[{,' * 100_000})[0] == 201, "what stands in a text counts for nothing"


def test_room_for_bodies(shared, rest):
    """Bodies of all requests together have so much room; who finds none is told when to come again."""
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", rest.port), timeout=60))
            connection.sendall(b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 16777216\r\n\r\n")
            connection.sendall(b" " * ((16 << 20) - 1))

        def full():
            status, value, headers = rest.post("/api/v1/tasks", b'{"task_type": "python", "source": "%s"}' % (b"#" * (8 << 20)), headers=JSON)
            assert status in (201, 503), value
            return status == 503 and int(headers["Retry-After"]) > 0
        waiting.wait_until(full)
        assert rest.get("/api/status")[0] == 200
    waiting.wait_until(lambda: rest.post("/api/v1/tasks", {**PYTHON, "source": "#" * (8 << 20)})[0] == 201)


def test_room_for_results(make_node):
    """Results that nobody fetches to the end are bounded together."""
    node = make_node(authenticated=False, web=True, web_port=0, max_result_size="40M").start()
    rest = Rest(port_of(node))
    task = submit(rest, "result = 'x' * 25_000_000")
    wait(rest, task)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            reader = stack.enter_context(socket.create_connection(("127.0.0.1", rest.port), timeout=60))
            reader.sendall(f"GET /api/v1/tasks/{task}/result HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert reader.recv(100, socket.MSG_PEEK).startswith(b"HTTP/1.1 200")
        status, value, headers = rest.get(f"/api/v1/tasks/{task}/result")
        assert status == 503 and int(headers["Retry-After"]) > 0, value
        assert rest.get("/api/status")[0] == 200
    waiting.wait_until(lambda: rest.get(f"/api/v1/tasks/{task}/result")[0] == 200)


def test_the_description(rest):
    status, value, _ = rest.get("/openapi.json")
    assert status == 200 and value["openapi"] == "3.1.0" and value["info"]["version"]
    for ref in references(value):
        at = value
        for part in ref.removeprefix("#/").split("/"):
            at = at[part]
    for path, methods in value["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"] and "default" in operation["responses"], (path, method)
    fields = value["components"]["schemas"]["taskworker.ExecuteTaskRequest"]["properties"]
    assert fields["limits"]["$ref"].endswith("/taskworker.Limits") and "CACHE_USE" in fields["cache"]["enum"]


def references(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
