# SPDX-License-Identifier: Apache-2.0
"""Tasks: how many a second, how soon, and what they cost others."""
import os
import queue as queues
import re
import shutil
import sqlite3
import subprocess
import threading
import time

import grpc

from machine import cpu_seconds, memory_mb, rollup_mb, slots_of
from measure import BWRAP, IN_FLIGHT, PYTHON, bench, grpc_frame, h2load, median, percentile, time_each, wait_until
from harness import processes


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
