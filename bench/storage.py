# SPDX-License-Identifier: Apache-2.0
"""Files that the node keeps, brought by clients and left by tasks."""
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

from machine import memory_mb
from measure import bench, median, seconds_of, time_each


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


WRITE = """
import os, sys
count, size = map(int, sys.argv[1:])
os.mkdir("out")
for i in range(count):
    with open(f"out/{i}", "wb") as file:
        for _ in range(0, size, 1 << 20):
            file.write(os.urandom(min(size, 1 << 20)))
result = 42
"""


def leave(node, count, size, **fields):
    """ms that a task which writes so much takes besides its own run."""
    ended = []
    whole, = time_each(1, lambda: ended.append(node.run(WRITE, args=[str(count), str(size)], **fields)))
    task, result = ended[0]
    assert result == b"42" and task.usage.outputs == (count if fields else 0), (task.message, task.error)
    return whole - task.usage.wall_us / 1000


def copied(target, count, size):
    """Seconds."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="hivemind-bench-") as folder:
        source = pathlib.Path(folder) / "out"
        source.mkdir()
        for i in range(count):
            (source / str(i)).write_bytes(os.urandom(size))
        seconds = seconds_of("cp", "-r", source, target)
    seconds += seconds_of("find", target, "-type", "f", "-exec", "sha256sum", "{}", "+")
    seconds += seconds_of("find", target, "-exec", "sync", "{}", "+")
    shutil.rmtree(target)
    return seconds


@bench
def outputs(c):
    """
    What it takes to keep the files that a task leaves, durable and hashed: its time besides its run, less that of the same task that
    keeps none. Beside it cp from memory, sha256sum, and sync of each file, by one process each.
    """
    for count, size, times in ((1, 1 << 20, 5), (1, 256 << 20, 1), (100, 1 << 20, 1), (256, 1 << 20, 1), (1000, 1 << 10, 1)):
        kept, theirs = [], []
        for _ in range(c.runs):
            node = c.node(max_storage_size="4GiB").start()
            node.run("result = 42")
            kept.append(median(leave(node, count, size, outputs=["out"]) - leave(node, count, size) for _ in range(times)))
            theirs.append(1000 * median(copied(c.folder / "copies", count, size) for _ in range(times)))
            node.stop()
            shutil.rmtree(node.folder)
            os.sync()
        many = f"{count:,} files of" if count > 1 else "a file of"
        each = f"{size >> 20} MiB" if size >> 20 else f"{size >> 10} KiB"
        c.report.add(f"{many} {each} that a task leaves", kept, "ms", "", "cp, sha256sum, sync", theirs)
