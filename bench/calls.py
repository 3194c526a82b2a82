# SPDX-License-Identifier: Apache-2.0
"""A node that is asked something: its start, its rest, calls, connections, and who may."""
import os
import re
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import time

from machine import cpu_seconds, memory_mb
from measure import bench, grpc_frame, h2load
from harness.node import free_port


@bench
def start(c):
    times = []
    for _ in range(c.runs):
        node = c.node().start()
        times.append(node.ready_after * 1000)
        node.stop()
    c.report.add("start to ready", times, "ms", "at most 100")


@bench
def idle(c):
    node = c.node().start()
    node.status()
    time.sleep(1)
    pid, before = node.process.pid, cpu_seconds(node.process.pid)
    time.sleep(5)
    c.report.add("idle: CPU of one core", (cpu_seconds(pid) - before) / 5 * 100, "%", "near 0")
    c.report.add("idle: daemon resident", memory_mb(pid), "MB", "at most 10")
    c.report.add("idle: threads of the daemon", len(os.listdir(f"/proc/{pid}/task")), "", "1 + idle pool")
    node.stop()


@bench
def status(c):
    """Small unary calls; the peer is nghttpd with a small file: HTTP/2 without gRPC, from the same library."""
    body = c.folder / "status.bin"
    body.write_bytes(grpc_frame(b""))
    (c.folder / "www").mkdir()
    (c.folder / "www" / "file").write_bytes(b"x" * 60)
    port = free_port()
    peer = subprocess.Popen(["nghttpd", "--no-tls", "-d", str(c.folder / "www"), str(port)], stdout=subprocess.DEVNULL)
    node = c.node().start()
    ours, theirs = [], []
    try:
        for _ in range(c.runs):
            url = f"http://{node.address}/taskworker.TaskWorkerService/GetStatus"
            ours.append(h2load(url, body, 300000))
            theirs.append(h2load(f"http://127.0.0.1:{port}/file", None, 100000))
    finally:
        peer.terminate()
        peer.wait()
        node.stop()
    c.report.add("unary GetStatus", ours, "/s", "at least 100,000", "nghttpd, small file", theirs)


def connect(node, context):
    """A connection that has shaken hands, if it has TLS, and said hello in HTTP/2."""
    connection = socket.create_connection(("127.0.0.1", node.port))
    if context:
        connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
    connection.recv(9)
    return connection


def cost_of_calls(c, body, scheme, settings):
    """Microseconds of the daemon's CPU for a small call: many at once, one at a time; for a connection, and its KB."""
    costs, count = [], 500
    context = ssl.create_default_context(cafile=c.folder / "tls" / "ca.crt") if settings else None
    if context:
        context.set_alpn_protocols(["h2"])
    node = c.node(**settings).start()
    pid, url = node.process.pid, f"{scheme}://{node.address}/taskworker.TaskWorkerService/GetStatus"
    for streams, requests in (100, 300000), (1, 40000):
        before = cpu_seconds(pid)
        h2load(url, body, requests, streams=streams)
        costs.append((cpu_seconds(pid) - before) / requests * 1e6)
    cpu, memory = cpu_seconds(pid), memory_mb(pid)
    connections = [connect(node, context) for _ in range(count)]
    costs += [(cpu_seconds(pid) - cpu) / count * 1e6, (memory_mb(pid) - memory) / count * 1024]
    for connection in connections:
        connection.close()
    node.stop()
    return costs


@bench
def tls(c):
    """What TLS costs the daemon; the peer is the same without."""
    body, folder = c.folder / "tls.bin", c.folder / "tls"
    body.write_bytes(grpc_frame(b""))
    subprocess.run([c.programs.cli, "tls", "init", "--dir", folder], check=True, capture_output=True)
    files = {"tls_cert": folder / "node.crt", "tls_key": folder / "node.key"}
    ours, theirs = [], []
    for _ in range(c.runs):
        ours.append(cost_of_calls(c, body, "https", files))
        theirs.append(cost_of_calls(c, body, "http", {}))
    rows = (("GetStatus with TLS, 4 connections of 100: CPU", "us", "at most 2 times"),
            ("GetStatus with TLS, 4 connections of 1: CPU", "us", "at most 2 times"),
            ("a connection with TLS: CPU", "us", ""), ("an idle connection with TLS", "KB", ""))
    for i, (name, unit, target) in enumerate(rows):
        c.report.add(name, [costs[i] for costs in ours], unit, target, "without", [costs[i] for costs in theirs])


@bench
def submit(c):
    """Durable submissions; the peer is SQLite alone with one commit each, same settings, same disk."""
    body = c.folder / "submit.bin"
    body.write_bytes(grpc_frame(b"\x12\x05shell\x1a\x04true"))
    ours, theirs = [], []
    for _ in range(c.runs):
        node = c.node(max_queued_tasks=1000000, max_concurrent_tasks=1).start()
        ours.append(h2load(f"http://{node.address}/taskworker.TaskWorkerService/ExecuteTask", body, 30000))
        accepted = node.status().accepted_tasks
        assert accepted == 30000, f"only {accepted} of 30000 were accepted"
        node.kill()
        db = sqlite3.connect(c.folder / f"peer{len(ours)}.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE t(id TEXT PRIMARY KEY, data BLOB)")
        begun = time.monotonic()
        for i in range(3000):
            db.execute("INSERT INTO t VALUES(?, ?)", (f"task{i}", b"true"))
        theirs.append(3000 / (time.monotonic() - begun))
        db.close()
    c.report.add("durable submissions", ours, "/s", "at least 10,000", "SQLite, a commit each", theirs)


@bench
def waits(c):
    node = c.node(max_concurrent_tasks=1).start()
    task = node.submit("import time; time.sleep(3600)")
    node.status()
    before = memory_mb(node.process.pid)
    request = c.stubs.pb.WaitTaskRequest(task_id=task)
    waiting = c.stubs.grpc.TaskWorkerServiceStub(node.new_channel([("bench.own_connection", 1)]))
    calls = [waiting.WaitTask.future(request) for _ in range(1000)]
    time.sleep(2)  # a figure, not a test: there is no event for "the thousandth call has arrived"
    c.report.add("1,000 open WaitTask calls", memory_mb(node.process.pid) - before, "MB", "at most 20")
    for call in calls:
        call.cancel()
    node.kill()


@bench
def rates(c):
    """What it costs to ask whether a peer may: few peers, and more than are known apart."""
    for keys in (100, 3000, 100000):
        made, making = re.match(r"ns ([\d.]+) with key ([\d.]+)", c.program("rates_bench", keys)).groups()
        c.report.add(f"a question of rate, {keys:,} peers", float(made), "ns", "under 200")
        c.report.add(f"the same with the key made, {keys:,} peers", float(making), "ns", "")


@bench
def access(c):
    """The check of an API token, which every call pays for, among one and among 100,000; and what does not happen on the loop."""
    for tokens in (1, 10000, 100000):
        with tempfile.TemporaryDirectory(dir=c.folder) as folder:
            out = dict(zip(*[iter(c.program("access_bench", folder, tokens).split())] * 2))
        among = f"among {tokens:,}"
        c.report.add(f"a token is checked, {among}", float(out["right_ns"]), "ns", "at most 5,000")
        c.report.add(f"one that is not known, {among}", float(out["unknown_ns"]), "ns")
        c.report.add(f"one that is mistyped, {among}", float(out["mistyped_ns"]), "ns")
        c.report.add(f"reading all accounts at the start, {among} tokens", float(out["open_ms"]), "ms")
    c.report.add("a password is checked (on a thread of its own)", float(out["password_ms"]), "ms")
