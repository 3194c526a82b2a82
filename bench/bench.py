#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The figures of this node, each beside a peer measured in the same run; medians of several runs.

make bench, or: bench/bench.py [--build DIR] [--runs N] [--json FILE] [NAME...]
Nothing here fails because a machine is slow: targets are printed beside the figures, for a person to read.
"""
import argparse
import json
import os
import pathlib
import queue as queues
import re
import shutil
import socket
import sqlite3
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

import grpc

from machine import ROOT, cpu_seconds, memory_mb, rollup_mb, slots_of, what_else_runs
from harness import processes
from harness.node import Node, Programs, free_port
from harness.stubs import Stubs

BENCHES = {}
IN_FLIGHT = 16
PYTHON = ["/usr/bin/python3", "-I", "-c", "result = 42"]
BWRAP = ["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib",
         "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dev", "/dev"]


def bench(f):
    BENCHES[f.__name__] = f
    return f


def median(values):
    return statistics.median(values)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Report:
    """Values are single ones, or a list with one for each run. Peers that were measured run by run are compared so."""

    def __init__(self):
        self.rows, self.beside = [], ""

    def begin(self, name):
        self.beside = what_else_runs()
        print(f"\n{name} ({self.beside})", flush=True)

    def add(self, name, value, unit, target="", peer="", peer_value=None):
        row = {"name": name, "unit": unit, "target": target, "beside": self.beside}
        if isinstance(value, list):
            row["runs"] = value
        if peer_value:
            pairs = zip(value, peer_value) if isinstance(value, list) and isinstance(peer_value, list) else None
            peer_value = median(peer_value) if isinstance(peer_value, list) else peer_value
            ratio = median([a / b for a, b in pairs]) if pairs else self.single(value) / peer_value
            row |= {"peer": peer, "peer_value": peer_value, "ratio": ratio}
        row["value"] = self.single(value)
        text = f"{name:<52} {row['value']:>12,.2f} {unit:<6} {target:<20}"
        if "peer" in row:
            text += f" {peer}: {peer_value:,.2f} (ratio {row['ratio']:.2f})"
        self.rows.append(row)
        print(text.rstrip(), flush=True)

    @staticmethod
    def single(value):
        return median(value) if isinstance(value, list) else value


class Context:
    def __init__(self, programs, stubs, folder, runs, report):
        self.programs, self.stubs, self.folder = programs, stubs, folder
        self.runs, self.report, self.count = runs, report, 0

    def node(self, **settings):
        self.count += 1
        return Node(self.programs, self.stubs, self.folder / f"node{self.count}", **settings)

    def program(self, name, *arguments):
        """What a program of bench/ prints."""
        command = [self.programs.build / "bench" / name, *arguments]
        return subprocess.run([str(a) for a in command], stdout=subprocess.PIPE, text=True, check=True).stdout

    def slot_rate(self, *arguments):
        """Tasks per second as slot_bench prints them."""
        out = self.program("slot_bench", self.programs.libexec, *arguments)
        return float(re.match(r"\w+ ([\d.]+) /s", out).group(1))

    def grpc_client(self, node, what, count, in_flight=1, pause_ms=0):
        """Calls per second, p50 and p99 in ms, as grpc_bench prints them; it has compared what came back."""
        out = self.program("grpc_bench", node.address, what, count, in_flight, pause_ms)
        rate, p50, p99 = re.fullmatch(r"rate ([\d.]+) p50 (\d+) p99 (\d+)\n", out).groups()
        return float(rate), int(p50) / 1000, int(p99) / 1000

    def bwrap_rate(self, count):
        return self.slot_rate("spawn", count, IN_FLIGHT, *BWRAP, *PYTHON)


def grpc_frame(message):
    return b"\0" + struct.pack(">I", len(message)) + message


def h2load(url, body, count, clients=4, streams=100):
    """Requests per second; every one of them must have been answered with HTTP 200. It believes every certificate."""
    call = ["-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"] if body else []
    out = subprocess.run(["h2load", "-n", str(count), "-c", str(clients), "-m", str(streams), *call, url],
                         capture_output=True, text=True, check=True).stdout
    rate = next(line for line in out.splitlines() if line.startswith("finished in"))
    assert f"{count} succeeded" in out, out
    return float(rate.split(",")[1].split()[0])


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


def time_each(count, f):
    times = []
    for _ in range(count):
        begun = time.monotonic()
        f()
        times.append((time.monotonic() - begun) * 1000)
    return times


@bench
def rate(c):
    """Isolated tasks straight at the slot layer, 16 in flight, with the peers in between."""
    ours, shell, forks, spawns = [], [], [], []
    for _ in range(c.runs):
        ours.append(c.slot_rate("sandbox", "python", 4000, IN_FLIGHT))
        spawns.append(c.bwrap_rate(400))
        forks.append(c.slot_rate("fork", 4000, IN_FLIGHT))
        shell.append(c.slot_rate("sandbox", "shell", 2000, IN_FLIGHT))
    c.report.add("isolated python tasks, 16 in flight", ours, "/s", "ratio at least 8", "bwrap + python3", spawns)
    c.report.add("isolated python tasks, 16 in flight", ours, "/s", "ratio at least 0.4",
                 "the same warm fork, not isolated", forks)
    c.report.add("isolated shell tasks, 16 in flight", shell, "/s")


@bench
def grpc_rate(c):
    """The same from outside: durable, through gRPC, the result fetched and compared."""
    ours, shell, alone, spawns = [], [], [], []
    for _ in range(c.runs):
        node = c.node(max_concurrent_tasks=IN_FLIGHT).start()
        c.grpc_client(node, "python", 200, IN_FLIGHT)  # until there are as many slots as it takes
        ours.append(c.grpc_client(node, "python", 3000, IN_FLIGHT)[0])
        spawns.append(c.bwrap_rate(400))
        shell.append(c.grpc_client(node, "shell", 2000, IN_FLIGHT)[0])
        alone.append(c.grpc_client(node, "status", 100000, IN_FLIGHT)[0])
        node.stop()
    c.report.add("python tasks through gRPC, 16 in flight", ours, "/s", "ratio at least 5", "bwrap + python3", spawns)
    c.report.add("shell tasks through gRPC, 16 in flight", shell, "/s")
    c.report.add("that client with GetStatus alone", alone, "/s")


@bench
def functions(c):
    """A trivial function, called through gRPC: each call a task of its own, isolated and durable."""
    (c.folder / "functions.py").write_text("from hivemind import function\n@function('one')\ndef one(): return 1\n")
    body = c.folder / "call.bin"
    body.write_bytes(grpc_frame(c.stubs.pb.CallFunctionRequest(function_name="one").SerializeToString()))
    ours = []
    for _ in range(c.runs):
        node = c.node(functions=c.folder / "functions.py", max_concurrent_tasks=IN_FLIGHT).start()
        url = f"http://{node.address}/taskworker.RPCService/CallFunction"
        h2load(url, body, 200, clients=4, streams=IN_FLIGHT // 4)  # until there are as many slots as it takes
        ours.append(h2load(url, body, 3000, clients=4, streams=IN_FLIGHT // 4))
        status = node.status()
        assert status.completed_tasks == 3200, f"only {status.completed_tasks} of 3200 calls ended well"
        node.stop()
    c.report.add("calls of a function, 16 in flight", ours, "/s", "at least 500")


@bench
def latency(c):
    """
    One task at a time through gRPC with WaitTask, by a client in C: on a node that has been idle for 20 ms, and one right
    after the other, when what is left to do after a task falls into the next one's time; the latter by grpcio too.
    """
    def peer(command):
        return median(time_each(50, lambda: subprocess.run(command, check=True)))

    for name, kind, source, command, p99_target in (
            ("python task, result = 42", "python", "result = 42", PYTHON, "at most 10"),
            ("shell task, true", "shell", "true", ["/bin/sh", "-c", "true"], "")):
        idle, by_c, by_grpcio, bare, bwrap = [], [], [], [], []
        for _ in range(c.runs):
            node = c.node().start()
            node.run(source, task_type=kind)
            idle.append(c.grpc_client(node, kind, 200, pause_ms=20))
            by_c.append(c.grpc_client(node, kind, 300))
            times = time_each(200, lambda n=node, k=kind, s=source: n.run(s, task_type=k))
            by_grpcio.append((median(times), percentile(times, 0.99)))
            bare.append(peer(command))
            bwrap.append(peer(BWRAP + command))
            node.stop()
        c.report.add(f"{name}: p50", [p50 for _, p50, _ in idle], "ms", "at most 3", "the bare process", bare)
        c.report.add(f"{name}: p99", [p99 for _, _, p99 in idle], "ms", p99_target, "bwrap, p50", bwrap)
        c.report.add(f"{name}, without a pause: p50", [p50 for _, p50, _ in by_c], "ms")
        c.report.add(f"{name}, without a pause: p99", [p99 for _, _, p99 in by_c], "ms")
        c.report.add(f"{name}, by grpcio: p50", [p50 for p50, _ in by_grpcio], "ms")
        c.report.add(f"{name}, by grpcio: p99", [p99 for _, p99 in by_grpcio], "ms")
    node = c.node().start()
    node.status()
    calls = [median(time_each(500, node.status)) for _ in range(c.runs)]
    c.report.add("the client alone, GetStatus, by grpcio: p50", calls, "ms")
    calls = [c.grpc_client(node, "status", 2000)[1] for _ in range(c.runs)]
    c.report.add("the client alone, GetStatus: p50", calls, "ms")
    node.stop()


@bench
def rates(c):
    """What it costs to ask whether a peer may: few peers, and more than are known apart."""
    for keys in (100, 3000, 100000):
        made, making = re.match(r"ns ([\d.]+) with key ([\d.]+)", c.program("rates_bench", keys)).groups()
        c.report.add(f"a question of rate, {keys:,} peers", float(made), "ns", "under 200")
        c.report.add(f"the same with the key made, {keys:,} peers", float(making), "ns", "")


@bench
def queue(c):
    """One decision of the queue, from 10 waiting tasks to a million; then what 10,000 of them cost a node that waits."""
    sizes = {}
    for owners in ("one owner", "ten tasks each"):
        for waiting in (10, 1000, 10000, 100000, 1000000):
            out = c.program("queue_bench", waiting, 1 if owners == "one owner" else waiting // 10)
            sizes[waiting, owners] = float(re.match(r"ns ([\d.]+) ", out).group(1))
            c.report.add(f"a decision, {waiting:,} waiting, {owners}", sizes[waiting, owners], "ns",
                         "flat to 100,000" if waiting == 100000 else "")
    node = c.node(max_concurrent_tasks=1, max_queued_tasks=20000).start()
    request = c.stubs.pb.ExecuteTaskRequest(task_type="shell", task_data=b"true",
                                            not_before_us=int((time.time() + 86400) * 1e6))
    body = c.folder / "queue.bin"
    body.write_bytes(grpc_frame(request.SerializeToString()))
    node.status()
    before = memory_mb(node.process.pid)
    h2load(f"http://{node.address}/taskworker.TaskWorkerService/ExecuteTask", body, 10000)
    assert node.status().queued_tasks == 10000
    time.sleep(2)
    cpu, now = cpu_seconds(node.process.pid), memory_mb(node.process.pid)
    time.sleep(5)
    c.report.add("10,000 waiting tasks: memory of the daemon", now - before, "MB", "at most 20")
    c.report.add("10,000 waiting tasks: CPU of one core", (cpu_seconds(node.process.pid) - cpu) / 5 * 100, "%", "none")
    node.stop()


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


@bench
def begin(c):
    """
    From an admission to the call that starts the task's run, on a node with free slots: what the store has of both moments. The
    first is noted within the transaction, so the commit and its fsync are in the figure: it is an upper bound.
    """
    p50s, p99s = [], []
    for _ in range(c.runs):
        node = c.node(max_concurrent_tasks=4).start()
        for _ in range(200):
            node.run("true", task_type="shell")
        node.kill()
        db = sqlite3.connect(node.storage / "taskworker.db")
        waited = [us / 1000 for us, in db.execute("SELECT t.started_us - e.time_us FROM tasks t JOIN events e USING (seq) "
                                                  "WHERE e.kind = 1 AND t.started_us > 0")]
        db.close()
        p50s.append(median(waited))
        p99s.append(percentile(waited, 0.99))
    c.report.add("admission, its commit included, to start: p50", p50s, "ms", "at most 1")
    c.report.add("admission, its commit included, to start: p99", p99s, "ms")


LINES = "import time\nfor _ in range(200000):\n    print(time.time(), flush=True); time.sleep(0.01)\n"


def sampled(c, node, lines):
    """ms: p50 and p99 of 500 GetStatus, one each 2 ms, and of the ways of another task's lines to a reader of its log meanwhile."""
    while not lines.empty():
        lines.get()
    _, p50, p99 = c.grpc_client(node, "status", 500, 1, pause_ms=2)
    ways = [(read - printed) * 1000 for read, printed in iter(lambda: None if lines.empty() else lines.get(), None)]
    return p50, p99, percentile(ways, 0.5), percentile(ways, 0.99)


def follow_lines(c, node, task_id, lines):
    """Puts (when it was read, when it was printed) into `lines` for each line of the task, until the node has gone."""
    rest = b""
    try:
        for chunk in node.stub.StreamLogs(c.stubs.pb.StreamLogsRequest(task_id=task_id, follow=True)):
            *whole, rest = (rest + chunk.data).split(b"\n")
            for line in whole:
                lines.put((time.time(), float(line)))
    except grpc.RpcError:
        pass


@bench
def noise(c):
    """One task prints 1 GB, all of which is kept: what that costs others. Beside it the same node with nothing of the kind."""
    rows, took = [], []
    for _ in range(c.runs):
        node = c.node(max_concurrent_tasks=4, max_log_size="2GiB").start()
        lines = queues.SimpleQueue()
        other = node.submit(LINES)
        threading.Thread(target=follow_lines, args=(c, node, other, lines), daemon=True).start()
        node.wait_for_output(other, b"\n")
        quiet = sampled(c, node, lines)
        began = time.monotonic()
        loud = node.submit("yes 0123456789abcdef0123456789abcdef | head -c 1073741824", task_type="shell", timeout_ms=600000)
        node.wait_for_output(loud, b"0123")
        noisy = sampled(c, node, lines)
        assert node.get(loud).state == c.stubs.pb.Task.RUNNING, "it was over before the others were"
        task, _ = node.wait(loud)
        took.append(time.monotonic() - began)
        assert task.log_size >= 1 << 30 and not task.log_truncated, task
        node.kill()
        rows.append((noisy, quiet))
        shutil.rmtree(node.folder)  # or the next run would wait for the disk to take this one's gigabyte
        os.sync()
    names = "GetStatus: p50", "GetStatus: p99", "a line of another task to its reader: p50", "the same: p99"
    for i, name in enumerate(names):
        c.report.add(f"{name}", [noisy[i] for noisy, _ in rows], "ms", "at most 10" if i == 1 else "", "nobody prints",
                     [quiet[i] for _, quiet in rows])
    c.report.add("1 GB printed and kept", [1024 / seconds for seconds in took], "MB/s")


@bench
def cache(c):
    """A python task whose result is in the cache, through gRPC, with the result fetched; beside it the task itself."""
    rates, p50s, ran, ran_p50s = [], [], [], []
    for _ in range(c.runs):
        node = c.node(max_concurrent_tasks=IN_FLIGHT).start()
        c.grpc_client(node, "cached", 10)
        rates.append(c.grpc_client(node, "cached", 20000, IN_FLIGHT)[0])
        p50s.append(c.grpc_client(node, "cached", 2000)[1])
        c.grpc_client(node, "python", 200, IN_FLIGHT)
        ran.append(c.grpc_client(node, "python", 2000, IN_FLIGHT)[0])
        ran_p50s.append(c.grpc_client(node, "python", 500)[1])
        assert node.status().cache_misses == 1
        node.stop()
    c.report.add("results from the cache, 16 in flight", rates, "/s", "at least 5,000", "run", ran)
    c.report.add("one after the other: p50", p50s, "ms", "at most 1", "run", ran_p50s)


@bench
def gc(c):
    """100,000 contents that no file uses are removed in the background: what GetStatus takes meanwhile. Beside it rm of as many files."""
    count = 100_000
    rows, took = [], []
    for _ in range(c.runs):
        node = c.node().start()
        node.stop()
        folder = node.storage / "storage"
        owner = folder.stat()
        os.chown(folder, os.getuid(), os.getgid())  # for as long as the program below fills it
        c.program("storage_many", folder, count)
        subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", folder], check=True)
        os.sync()
        node.start()
        files = c.stubs.grpc.FileServiceStub(node.channel)
        left = lambda: files.GetStorage(c.stubs.pb.GetStorageRequest(), timeout=60).blobs
        asked = lambda: c.grpc_client(node, "status", 200, 1, pause_ms=2)[1:]  # p50 and p99
        began, busy, before = time.monotonic(), [], left()
        assert before > count / 2, "it was over before it could be watched"
        while left():
            busy.append(asked())
        took.append(before / (time.monotonic() - began))
        others = c.folder / "others"
        c.program("storage_many", others, count)
        os.sync()
        remover, quiet = subprocess.Popen(["rm", "-r", str(others)]), []
        while remover.poll() is None:
            quiet.append(asked())
        rows.append((busy, quiet))
        node.stop()
        shutil.rmtree(node.folder)
    for i, (name, of, target) in enumerate((("p50", statistics.median, ""), ("p99", statistics.median, "at most 5"))):
        c.report.add(f"GetStatus while contents are removed: {name}", [of(v[i] for v in busy) for busy, _ in rows], "ms", target,
                     "while rm -r removes as many", [of(v[i] for v in quiet) for _, quiet in rows])
    c.report.add("contents removed", took, "a second")


def seconds_of(*command):
    began = time.monotonic()
    subprocess.run([str(a) for a in command], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


@bench
def files(c):
    """1 GB into the node's storage and back, durable and checked, by `hivemind storage`; beside it cp (which waits for no disk) and sha256sum of the file."""
    gigabyte = 1 << 30
    source, copy, back = c.folder / "gigabyte", c.folder / "copy", c.folder / "back"
    with open("/dev/urandom", "rb") as random, open(source, "wb") as file:
        for _ in range(gigabyte >> 20):
            file.write(random.read(1 << 20))
    os.sync()
    cps, puts, gets, peaks = [], [], [], []
    for _ in range(c.runs):
        node = c.node(max_storage_size="4GiB").start()
        cli = [c.programs.cli, "--server", node.address, "storage"]
        cps.append(gigabyte / 1e6 / (seconds_of("cp", source, copy) + seconds_of("sha256sum", copy)))
        copy.unlink()
        before = memory_mb(node.process.pid)
        puts.append(gigabyte / 1e6 / seconds_of(*cli, "put", source, "gigabyte"))
        gets.append(gigabyte / 1e6 / seconds_of(*cli, "get", "gigabyte", back))
        with open(f"/proc/{node.process.pid}/status", encoding="ascii") as file:
            peak = int(re.search(r"VmHWM:\s+(\d+)", file.read()).group(1)) / 1024
        peaks.append(peak - before)
        subprocess.run(["cmp", source, back], check=True)
        back.unlink()
        node.kill()
        shutil.rmtree(node.folder)
        os.sync()
    c.report.add("push of 1 GB by stream", puts, "MB/s", "ratio at least 0.5", "cp, sha256sum", cps)
    c.report.add("get of 1 GB by stream", gets, "MB/s", "ratio at least 0.5", "cp, sha256sum", cps)
    c.report.add("what the daemon takes for it at most", peaks, "MB", "at most 20")


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {condition.__name__}")
        time.sleep(0.05)


def idle_slots(c):
    """Memory of one slot that waits, with a seat prepared: RSS of its largest process, PSS and private of all."""
    node = c.node(max_concurrent_tasks=4, spare_sandboxes=4).start()
    for task in [node.submit("import time; time.sleep(0.5)") for _ in range(4)]:  # a slot makes a seat after its first
        node.wait(task)

    def all_wait():
        """four slots, each with the pid 1 and the process of a seat"""
        return [len(p) for p in slots_of(node.process.pid).values()] == [3] * 4

    wait_until(all_wait)
    slots = slots_of(node.process.pid)
    _, pss, private = rollup_mb(set().union(*slots.values()))
    rss = [rollup_mb([slot])[0] for slot in slots]
    node.stop()
    return median(rss), pss / len(slots), private / len(slots)


def running_tasks(c, count):
    """What each of many running tasks takes in the daemon, and in all processes of the node together."""
    node = c.node(max_concurrent_tasks=count).start()
    node.run("result = 42")
    pid = node.process.pid
    daemon, everything = memory_mb(pid), rollup_mb(processes.descendants(pid) | {pid})[1]
    for _ in range(count):
        node.submit("import time; time.sleep(3600)")

    def all_run():
        """as many tasks run as were handed in"""
        return node.status().running_tasks == count

    wait_until(all_run)
    daemon = (memory_mb(pid) - daemon) / count
    everything = (rollup_mb(processes.descendants(pid) | {pid})[1] - everything) / count
    node.kill()
    return daemon, everything


@bench
def memory(c):
    slots = [idle_slots(c) for _ in range(c.runs)]
    c.report.add("a warm slot that waits: PSS of its processes", [pss for _, pss, _ in slots], "MB", "at most 25")
    c.report.add("a warm slot that waits: its private part", [private for _, _, private in slots], "MB")
    c.report.add("a warm slot that waits: RSS of the interpreter", [rss for rss, _, _ in slots], "MB", "at most 25")
    tasks = [running_tasks(c, 200) for _ in range(c.runs)]
    c.report.add("a running task, of 200: in the daemon", [daemon * 1024 for daemon, _ in tasks], "KB", "at most 1,024")
    c.report.add("a running task, of 200: PSS of the whole node", [node for _, node in tasks], "MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", help="write the figures to this file as well")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {' '.join(BENCHES)}; default: all")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHES)
    if unknown:
        parser.error(f"no such benchmark: {' '.join(sorted(unknown))}")
    programs = Programs(options.build)
    if programs.missing():
        sys.exit(f"not built: {' '.join(programs.missing())}")
    report = Report()
    with tempfile.TemporaryDirectory(prefix="hivemind-bench-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        processes.become_subreaper()
        context = Context(programs, Stubs(folder / "stubs"), folder, options.runs, report)
        print(f"medians of {options.runs} runs; ratios are medians of each run's own")
        for name in options.names or BENCHES:
            report.begin(name)
            BENCHES[name](context)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report.rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
