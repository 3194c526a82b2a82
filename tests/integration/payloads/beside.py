# SPDX-License-Identifier: Apache-2.0
# What a task could do to another one that runs at the same time. Given: PIDS of its processes as the host knows them, and
# PORT, the number of the node's own port.
import os
import signal
import socket

from given import PIDS, PORT
from probing import ABSENT, probe, read, try_all

NOBODY = ("ESRCH", "EPERM")

try_all("read", ABSENT, read, [f"{folder}/secret" for folder in ("/tmp", "/workspace", "/dev/shm", "/var/tmp")])
for part in ("environ", "mem", "maps", "root/tmp/secret", "cwd/secret", "cmdline", "fd/1"):
    try_all(f"its {part} by number", ABSENT, lambda pid, part=part: read(f"/proc/{pid}/{part}"), PIDS)
try_all("ask for", NOBODY, lambda pid: os.kill(pid, 0), PIDS)
try_all("kill", NOBODY, lambda pid: os.kill(pid, signal.SIGKILL), PIDS)
try_all("kill the group of", NOBODY, lambda pid: os.killpg(pid, signal.SIGKILL), PIDS)
try_all("pidfd of", (*NOBODY, "EINVAL"), os.pidfd_open, PIDS)
try_all("session of", NOBODY, os.getsid, PIDS)
try_all("priority of", NOBODY, lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19), PIDS)
try_all("processors of", NOBODY, lambda pid: os.sched_setaffinity(pid, {0}), PIDS)


@probe("ECONNREFUSED")
def abstract_socket():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\0secret")


@probe("[]")
def processes():
    return [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (os.getpid(), os.getppid())]


@probe("bound")
def port_is_free_here():
    with socket.socket() as s:
        s.bind(("0.0.0.0", PORT))
        s.listen()
    return "bound"


# --- signals to pid 1: without a right to it, or (where all have one id) without effect ---

for sig in ("SIGKILL", "SIGTERM", "SIGSTOP", "SIGSEGV", "SIGCHLD", "SIGCONT"):
    try_all(f"{sig} to", ("EPERM", "None"), lambda pid, sig=sig: os.kill(pid, getattr(signal, sig)), [1])


@probe("EPERM", "None")
def signal_to_pid_1_by_its_pidfd():
    return signal.pidfd_send_signal(os.pidfd_open(1), signal.SIGKILL)


@probe("True")
def pid_1_lives():
    try:
        os.kill(1, 0)
    except PermissionError:
        pass  # that it is there is all that counts
    return True
