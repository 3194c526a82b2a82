#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Very many tasks through one node, and what they leave behind: a table over time and a verdict.

make soak COUNT=N, or: bench/soak.py [--build DIR] [--count N] [--every SECONDS] [--json FILE]

The tasks are of all kinds (bench/grpc_bench.c): most return a result, others fail, are killed at their time-out, leave
processes behind, fork twice, print, fill their folders. Each must end as it should. After a first part, which counts as
warm-up, the node is looked at while it rests, and again after the last task; then it is stopped. Growth beyond the bounds
in BOUNDS, anything left behind, and any task that ended otherwise than it should make this exit with 1. What the store
takes on disk is told apart: no task is deleted from it.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time

from machine import (ROOT, count_fds, disk_mb, launcher_of, memory_mb, open_files, rollup_mb, slab_objects, slots_of,
                     what_else_runs, zombies_of)
from harness import processes
from harness.node import Node, Programs
from harness.stubs import Stubs

IN_FLIGHT = 16
REST_SECONDS = 150  # a node gives slots back that were not needed for one to two spans of 30 s
WARM_UP = 0.2       # of all tasks: until every slot has been replaced, caches are full, and the heap has its size

# How much more the node may take at rest after the last task than at rest after the warm-up. A leak in every hundredth
# task is far beyond the last three, which belong to the whole machine and move a little by themselves.
BOUNDS = {
    "daemon_mb": lambda tasks: 6,
    "daemon_fds": lambda tasks: 4,
    "launcher_mb": lambda tasks: 1,
    "launcher_fds": lambda tasks: 2,
    "slots": lambda tasks: 0,
    "slot_processes": lambda tasks: 2,
    "slots_mb": lambda tasks: 10,
    "zombies": lambda tasks: 0,
    "mounts": lambda tasks: 0,
    "cgroups": lambda tasks: 0,
    "files": lambda tasks: 1000 + tasks // 100,
    "slab_mounts": lambda tasks: 2000 + tasks // 100,
    "slab_pid_namespaces": lambda tasks: 1000 + tasks // 100,
}


@dataclasses.dataclass
class Sample:
    seconds: float
    tasks: int
    daemon_mb: float
    daemon_fds: int
    launcher_mb: float
    launcher_fds: int
    slots: int
    slot_processes: int
    slots_mb: float
    zombies: int
    mounts: int
    cgroups: int
    files: int
    slab_mounts: int
    slab_pid_namespaces: int


# Of the columns in the table, in their order.
TITLES = ["time s", "tasks", "daemon MB", "fds", "launch. MB", "fds", "slots", "procs", "PSS MB", "zombies", "mounts",
          "cgroups", "files", "slab mnt", "slab pidns"]


def count_mounts():
    """In the host's table, which must not see those of the sandboxes."""
    return len(pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines())


def count_cgroups(launcher):
    return len(processes.cgroups([launcher]))


class Soak:
    def __init__(self, node, every):
        self.node, self.every = node, every
        self.daemon, self.launcher = node.process.pid, launcher_of(node.process.pid)
        self.begun, self.samples = time.monotonic(), []

    def sample(self, note=""):
        slots = slots_of(self.daemon)
        pids = set().union(*slots.values()) if slots else set()
        status = self.node.status()
        s = Sample(seconds=time.monotonic() - self.begun,
                   tasks=status.completed_tasks + status.failed_tasks + status.stopped_tasks,
                   daemon_mb=memory_mb(self.daemon), daemon_fds=count_fds(self.daemon),
                   launcher_mb=memory_mb(self.launcher), launcher_fds=count_fds(self.launcher),
                   slots=len(slots), slot_processes=len(pids), slots_mb=rollup_mb(pids)[1],
                   zombies=zombies_of(self.daemon), mounts=count_mounts(), cgroups=count_cgroups(self.launcher),
                   files=open_files(), slab_mounts=slab_objects("mnt_cache"),
                   slab_pid_namespaces=slab_objects("pid_namespace"))
        self.samples.append({"note": note} | dataclasses.asdict(s))
        cells = [("-" if v is None else f"{v:.1f}" if isinstance(v, float) else str(v)) for v in dataclasses.astuple(s)]
        print(" ".join(f"{cell:>10}" for cell in cells), note, flush=True)
        return s

    def run(self, client, count):
        """Tasks until they are done; False when one ended otherwise than it should."""
        command = [str(client), self.node.address, "mixed", str(count), str(IN_FLIGHT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            fd = os.pidfd_open(process.pid)
            try:
                while not select.select([fd], [], [], self.every)[0]:
                    self.sample()
            except BaseException:
                process.kill()
                raise
            finally:
                os.close(fd)
            print(f"{count} tasks: {process.stdout.read().strip()} us", flush=True)
        return process.returncode == 0

    def rest(self, note):
        """Waits until the node has given back what it does not need, and looks at it."""
        deadline = time.monotonic() + REST_SECONDS
        while True:
            slots = slots_of(self.daemon)
            if len(slots) <= 2 and not zombies_of(self.daemon):
                break
            if time.monotonic() > deadline:
                print(f"the node has kept {len(slots)} slots for {REST_SECONDS} s")
                break
            time.sleep(1)
        return self.sample(note)


def judge(before, after, tasks):
    """What has grown beyond its bound, as sentences."""
    found = []
    print(f"\ngrowth over {tasks} tasks, from rest to rest:")
    for name, bound in BOUNDS.items():
        a, b = getattr(before, name), getattr(after, name)
        if a is None or b is None:
            print(f"  {name:<22} cannot be read here")
            continue
        good = b - a <= bound(tasks)
        print(f"  {name:<22} {a:>12.1f} -> {b:>12.1f}   {b - a:>+10.1f}   bound {bound(tasks):+}{'' if good else '   TOO MUCH'}")
        if not good:
            found.append(f"{name} grew by {b - a:.1f}, more than {bound(tasks)}")
    return found


def soak(node, programs, options):
    """Problems, as sentences."""
    client = programs.build / "bench" / "grpc_bench"
    problems = []
    node.start()
    s = Soak(node, options.every)
    print(" ".join(f"{title:>10}" for title in TITLES))
    s.sample("start")
    warm_up = max(1, int(options.count * WARM_UP))
    if not s.run(client, warm_up):
        problems.append("a task of the warm-up went wrong")
    before, disk_before = s.rest("at rest after the warm-up"), disk_mb(node.storage)
    if not s.run(client, options.count - warm_up):
        problems.append("a task went wrong")
    after, disk_after = s.rest("at rest after the last task"), disk_mb(node.storage)
    done = after.tasks - before.tasks
    problems += judge(before, after, done)
    if after.tasks != options.count:
        problems.append(f"the node counted {after.tasks} tasks that ended, of {options.count}")
    print(f"the store, from which nothing is deleted: {disk_before:.1f} -> {disk_after:.1f} MB, "
          f"{(disk_after - disk_before) * 1024 / done:.1f} KB for each task")
    mounts, groups = count_mounts(), count_cgroups(s.launcher)
    try:
        node.stop()
    except AssertionError as e:
        problems.append(str(e))
    if count_cgroups(s.launcher):
        problems.append("control groups are left after the node's end")
    print(f"after its end: {count_mounts() - mounts:+} mounts, {count_cgroups(s.launcher) - groups:+} control groups")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(s.samples, indent=1) + "\n", encoding="utf-8")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--count", type=int, default=100000, help="tasks [%(default)s]")
    parser.add_argument("--every", type=float, default=5, help="seconds between two lines of the table [%(default)s]")
    parser.add_argument("--json", help="write the samples to this file as well")
    options = parser.parse_args()
    if options.count < 10 or options.every <= 0:
        parser.error("at least 10 tasks, and some time between two samples")
    programs = Programs(options.build)
    if programs.missing():
        sys.exit(f"not built: {' '.join(programs.missing())}")
    processes.become_subreaper()
    with tempfile.TemporaryDirectory(prefix="hivemind-soak-") as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        node = Node(programs, Stubs(folder / "stubs"), folder / "node", max_concurrent_tasks=IN_FLIGHT)
        print(f"{options.count} tasks, {IN_FLIGHT} in flight; {what_else_runs()}")
        try:
            problems = soak(node, programs, options)
        finally:
            if node.process is not None:
                node.kill()
    for problem in problems:
        print(f"PROBLEM: {problem}")
    print("the soak has failed" if problems else "nothing is left behind, and nothing grew beyond its bound")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
