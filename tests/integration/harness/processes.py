# SPDX-License-Identifier: Apache-2.0
"""Finding out what a daemon has left behind.

The test process makes itself the subreaper: whatever a daemon or one of its helpers leaves behind becomes our child,
whichever way its parent died, and can be found and waited for without a race over names.
"""
import ctypes
import os
import pathlib
import select
import signal
import time

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children(pid="self"):
    """None, where the process itself has gone."""
    found = set()
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return found
    for thread in threads:
        try:
            found.update(int(p) for p in pathlib.Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
        except OSError:
            pass
    return found


def descendants(pid):
    found, todo = set(), [pid]
    while todo:
        for child in children(todo.pop()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return found


def command_of(pid):
    try:
        raw = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        return raw.replace(b"\0", b" ").decode("utf-8", "replace").strip() or "(zombie)"
    except OSError:
        return "(gone)"


def program_of(pid):
    return command_of(pid).split(" ", 1)[0].rsplit("/", 1)[-1]


def wait_for_exit(pid, seconds):
    """True when the process has ended within the time. It need not be a child, and it is not reaped."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], max(0, seconds))[0])
    finally:
        os.close(fd)


def kill(pid):
    """SIGKILL, and nothing where it has gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Orphans:
    """Between start and check, every process that is neither there before nor started by the test itself."""

    def __init__(self):
        self.before = children()

    def check(self, known=(), seconds=10):
        """Waits until no orphan is left; returns those that are (and ends them, so that the next test starts clean)."""
        deadline = time.monotonic() + seconds
        left = []
        while True:
            # A subprocess of the test itself (a command line tool that runs in another thread) is in `known`.
            orphans = children() - self.before - set(known)
            if not orphans:
                return left
            for pid in orphans:
                if not wait_for_exit(pid, deadline - time.monotonic()):
                    left.append(f"{pid}: {command_of(pid)}")
                    for victim in descendants(pid) | {pid}:
                        try:
                            os.kill(victim, signal.SIGKILL)
                        except ProcessLookupError:
                            pass
                try:
                    os.waitpid(pid, 0)
                except ChildProcessError:
                    pass


def mounts():
    return {line.split(" ", 4)[4].split(" ", 1)[0]
            for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}


def in_cgroup(folder):
    """The processes in there and in the groups below."""
    return [pid for path in pathlib.Path(folder).rglob("cgroup.procs") for pid in path.read_text().split()]


def cgroups(launchers):
    """The control groups of these launchers, whose pids are in the names; other nodes on this machine have their own."""
    found = set()
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        paths = [os.path.join(folder, n) + "/" for n in names]
        found.update(path for path in paths for pid in launchers if f"/hivemind-{pid}-" in path)
    return found
