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
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from harness.node import Node, Programs, free_port  # noqa: E402
from harness.stubs import Stubs  # noqa: E402

BENCHES = {}


def bench(f):
    BENCHES[f.__name__] = f
    return f


def median(values):
    return statistics.median(values)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


class Report:
    def __init__(self):
        self.rows = []

    def add(self, name, value, unit, target="", peer="", peer_value=None):
        row = {"name": name, "value": value, "unit": unit, "target": target}
        text = f"{name:<44} {value:>12,.2f} {unit:<10} {target:<18}"
        if peer_value:
            row |= {"peer": peer, "peer_value": peer_value, "ratio": value / peer_value}
            text += f" {peer}: {peer_value:,.2f} (ratio {value / peer_value:.2f})"
        self.rows.append(row)
        print(text, flush=True)


class Context:
    def __init__(self, programs, stubs, folder, runs, report):
        self.programs, self.stubs, self.folder = programs, stubs, folder
        self.runs, self.report, self.count = runs, report, 0

    def node(self, **settings):
        self.count += 1
        return Node(self.programs, self.stubs, self.folder / f"node{self.count}", **settings)


def memory_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def grpc_frame(message):
    return b"\0" + struct.pack(">I", len(message)) + message


def h2load(url, body, count, clients=4, streams=100):
    """Requests per second; every one of them must have been answered with HTTP 200."""
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
    c.report.add("start to ready", median(times), "ms", "at most 100")


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
    c.report.add("unary GetStatus", median(ours), "/s", "at least 100,000", "nghttpd, small file", median(theirs))


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
    c.report.add("durable submissions", median(ours), "/s", "at least 10,000", "SQLite, a commit each", median(theirs))


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
def latency(c):
    """One task at a time on an idle node, through gRPC with WaitTask."""
    node = c.node().start()
    bwrap = ["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib",
             "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dev", "/dev"]

    def peer(command):
        return time_each(50, lambda: subprocess.run(command, check=True))

    for name, kind, source, command in (
            ("python task, result = 42", "python", "result = 42", ["/usr/bin/python3", "-I", "-c", "result = 42"]),
            ("shell task, true", "shell", "true", ["/bin/sh", "-c", "true"])):
        node.run(source, task_type=kind)
        times = time_each(200, lambda k=kind, s=source: node.run(s, task_type=k))
        bare = median(peer(command))
        c.report.add(f"{name}: p50", median(times), "ms", "", "the bare process", bare)
        c.report.add(f"{name}: p99", percentile(times, 0.99), "ms", "", "bwrap, p50", median(peer(bwrap + command)))
    node.stop()


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
        context = Context(programs, Stubs(folder / "stubs"), folder, options.runs, report)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}; medians of {options.runs} runs\n")
        for name in options.names or BENCHES:
            BENCHES[name](context)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report.rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
