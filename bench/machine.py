# SPDX-License-Identifier: Apache-2.0
"""What a machine and the processes of a node on it take, read from /proc."""
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from harness import processes  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def stat_fields(pid):
    """Of /proc/PID/stat from the state on, which comes after a name that can hold anything."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
        return f.read().rpartition(")")[2].split()


def cpu_seconds(pid):
    fields = stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / TICK


def memory_mb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def count_fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def rollup_mb(pids):
    """RSS, PSS and private memory of these together, in MB; what has ended meanwhile, or has no memory any more, is none."""
    total = {"Rss": 0, "Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    for pid in pids:
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
        except (ProcessLookupError, FileNotFoundError):
            continue
        for line in lines:
            name, _, value = line.partition(":")
            if name in total:
                total[name] += int(value.split()[0]) / 1024
    return total["Rss"], total["Pss"], total["Private_Clean"] + total["Private_Dirty"]


def launcher_of(daemon):
    return next(p for p in processes.children(daemon) if processes.program_of(p) == "hivemind-launcher")


def slots_of(daemon):
    """{pid of a slot: its processes, itself among them}."""
    return {slot: processes.descendants(slot) | {slot} for slot in processes.children(launcher_of(daemon))}


def zombies_of(daemon):
    """How many processes of the node have ended and are not reaped."""
    def is_zombie(pid):
        try:
            return stat_fields(pid)[0] == "Z"
        except (ProcessLookupError, FileNotFoundError):
            return False
    return sum(is_zombie(pid) for pid in processes.descendants(daemon))


def slab_objects(name):
    """Objects in use in one of the kernel's caches; None where that cannot be read."""
    try:
        with open("/proc/slabinfo", encoding="ascii") as f:
            return next((int(line.split()[1]) for line in f if line.split()[0] == name), None)
    except OSError:
        return None


def open_files():
    """Of the whole machine."""
    return int(pathlib.Path("/proc/sys/fs/file-nr").read_text(encoding="ascii").split()[0])


def disk_mb(folder):
    return int(subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True, check=True).stdout.split()[0]) / 1024


def _all_cpu_seconds():
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found[pid] = cpu_seconds(pid)
        except OSError:
            pass
    return found


def _busy_ticks():
    """Of all processors together, by whomever: processes that end within a second are seen by nothing else."""
    with open("/proc/stat", encoding="ascii") as f:
        user, nice, system, _, _, irq, soft = map(int, f.readline().split()[1:8])
    return user + nice + system + irq + soft


def what_else_runs(seconds=1.0):
    """A sentence on what this machine does while we wait: a figure is worth little without it."""
    before, busy_before = _all_cpu_seconds(), _busy_ticks()
    time.sleep(seconds)
    busy, after = (_busy_ticks() - busy_before) / TICK / seconds, _all_cpu_seconds()
    used = {p: (after[p] - before.get(p, 0)) / seconds * 100 for p in after if p != str(os.getpid())}
    busiest = sorted((p for p in used if used[p] >= 5), key=used.get, reverse=True)
    names = ", ".join(f"{processes.program_of(p)} {used[p]:.0f} %" for p in busiest[:4])
    return (f"load average {os.getloadavg()[0]:.2f}; before it {busy:.2f} of {os.cpu_count()} cores were busy"
            f"{' with: ' + names if names else ''}")
