# SPDX-License-Identifier: Apache-2.0
"""The web port: status calls, watchers of events, a long log."""
import contextlib
import http.client
import re
import socket
import subprocess
import time

from machine import cpu_seconds, memory_mb
from measure import bench

WATCHERS = 240  # of one address: a quarter of WEB's connections may come from one
SOURCES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def web_node(c, **settings):
    node = c.node(web=True, web_port=0, dev=True, **settings).start()
    return node, int(re.findall(r"REST: http://127\.0\.0\.1:(\d+)", node.log())[-1])


@bench
def rest(c):
    """GET /api/status over kept connections, 16 at once, by h2load; beside it /livez, which asks the service nothing."""
    rows = {"/api/status": [], "/livez": []}
    loop = []
    for _ in range(c.runs):
        node, port = web_node(c)
        for path, found in rows.items():
            before = cpu_seconds(node.process.pid)
            said = subprocess.run(["h2load", "--h1", "-n", "40000", "-c", "16", f"http://127.0.0.1:{port}{path}"],
                                  capture_output=True, text=True, check=True).stdout
            assert "40000 succeeded" in said, said
            found.append(float(re.search(r"([\d.]+) req/s", said).group(1)))
            if path == "/api/status":
                loop.append((cpu_seconds(node.process.pid) - before) / 40000 * 1e6)
        node.stop()
    c.report.add("GET /api/status, 16 at once", rows["/api/status"], "a second", "at least 20000", "/livez", rows["/livez"])
    c.report.add("what one takes of the daemon's processor time", loop, "us", "at most 100")


def watch(port, source):
    connection = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
    connection.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    return connection


@bench
def watchers(c):
    """500 clients of /api/events: the daemon's memory, and 500 tasks with them and without."""
    memory, rates = [], {"with": [], "without": []}
    for _ in range(c.runs):
        node, port = web_node(c, max_queued_tasks=2000)

        def tasks():
            began = time.monotonic()
            ids = [node.submit("result = 1") for _ in range(500)]
            for task in ids:
                node.wait(task)
            return 500 / (time.monotonic() - began)

        tasks()
        rates["without"].append(tasks())
        before = memory_mb(node.process.pid)
        with contextlib.ExitStack() as stack:
            for i in range(500):
                stack.enter_context(watch(port, SOURCES[i // WATCHERS]))
            memory.append(memory_mb(node.process.pid) - before)
            rates["with"].append(tasks())
        node.stop()
    c.report.add("500 clients of /api/events", memory, "MB", "at most 20")
    c.report.add("tasks while they watch", rates["with"], "a second", "ratio near 1", "without them", rates["without"])


@bench
def long_log(c):
    """The first page of a log of 1 GB, and all of it through HTTP; beside it cat of as many bytes through a pipe."""
    first, whole, cats = [], [], []
    size = 1 << 30
    node, port = web_node(c, max_log_size="2G")
    task = node.submit("import os\nline = b'x' * 65535 + b'\\n'\nfor _ in range(16384):\n    os.write(1, line)", timeout_ms=600_000)
    node.wait(task, seconds=600)
    for _ in range(c.runs):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        began = time.monotonic()
        connection.request("GET", f"/api/v1/tasks/{task}/log/chunks")
        assert len(connection.getresponse().read()) > 200_000
        first.append((time.monotonic() - began) * 1000)
        began = time.monotonic()
        connection.request("GET", f"/api/v1/tasks/{task}/log")
        answer, total = connection.getresponse(), 0
        while piece := answer.read(1 << 20):
            total += len(piece)
        assert total == size
        whole.append(size / 1e6 / (time.monotonic() - began))
        connection.close()
        began = time.monotonic()
        subprocess.run(f"head -c {size} /dev/zero | cat | cat >/dev/null", shell=True, check=True)
        cats.append(size / 1e6 / (time.monotonic() - began))
    node.stop()
    c.report.add("the first page of a log of 1 GB", first, "ms", "at most 1000")
    c.report.add("all of it", whole, "MB/s", "", "cat through a pipe", cats)
