# SPDX-License-Identifier: Apache-2.0
# What a task could find of the one that had this sandbox before (plant.py). Given: the SLOT where it ran; NICE of the
# node; PREFIX and DIGEST of the secret in its environment, of which no whole copy is here.
import builtins
import ctypes
import gc
import hashlib
import json
import os
import random
import resource
import signal
import socket
import sys

from given import DIGEST, NICE, PREFIX, SLOT
from probing import probe, syscall, try_all

WRITE = {"x86_64": 1, "aarch64": 64}[os.uname().machine]


@probe("same", "other", name="slot")
def which_slot():
    return "same" if os.readlink("/proc/self/ns/net") == SLOT else "other"


try_all("find", ("False",), os.path.lexists,
        [f"{folder}/left" for folder in ("/tmp", "/workspace", "/dev/shm", "/var/tmp")] + ["/workspace/json", "/workspace/random.py"])
try_all("list", ("[]",), os.listdir, ["/tmp", "/workspace", "/dev/shm", "/var/tmp"])


@probe("[]")
def processes():
    return [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (os.getpid(), os.getppid())]


@probe("ECONNREFUSED")
def abstract_socket():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\0left")


@probe("bound")
def port():
    with socket.socket() as s:
        s.bind(("0.0.0.0", 4711))
        s.listen()
    return "bound"


@probe("[]")
def sockets():
    """Also those that wait for their time to pass."""
    return [line.split()[1] for kind in ("tcp", "tcp6", "udp", "udp6", "raw") for line in open(f"/proc/net/{kind}").readlines()[1:]]


@probe("['Path', '[]']")
def local_sockets():
    lines = [line.split() for line in open("/proc/net/unix")]
    return [lines[0][-1], str([line[7] for line in lines[1:] if len(line) > 7])]


@probe("[0, 0, 0]")
def objects_of_system_v():
    return [len(open(f"/proc/sysvipc/{kind}").readlines()) - 1 for kind in ("shm", "sem", "msg")]


@probe("[]")
def environment():
    return [name for name in os.environ if name not in ("PATH", "HOME", "LANG", "TMPDIR", "TASK_ID", "LC_CTYPE", "PWD")]


@probe("/usr/local/bin:/usr/bin:/bin")
def search_path():
    return os.environ["PATH"]


@probe("True")
def python_is_as_it_was():
    import re
    return (callable(builtins.open) and callable(builtins.len) and not hasattr(builtins, "LEFT") and json.loads(json.dumps([1])) == [1]
            and "left" not in sys.modules and hasattr(re, "compile") and "left" not in sys.argv and sys.getrecursionlimit() == 1000
            and gc.isenabled() and sys.excepthook is sys.__excepthook__ and sys.displayhook is sys.__displayhook__)


@probe("True")
def random_numbers_are_new():
    """Seeded as the one before did, these would be its numbers."""
    return random.random() != random.Random(1).random()


@probe("0000000000000000 0000000000000000")
def signals():
    """Blocked, and ignored beside those that Python itself ignores."""
    fields = dict(line.split(":\t") for line in open("/proc/self/status").read().splitlines() if line.startswith("Sig"))
    own = sum(1 << sig - 1 for sig in (signal.SIGPIPE, signal.SIGXFSZ))
    return f"{fields['SigBlk']} {int(fields['SigIgn'], 16) & ~own:016x}"


@probe(f"22 {NICE} /workspace")
def process_attributes():
    mask = os.umask(0o22)
    return f"{mask:o} {os.nice(0)} {os.getcwd()}"


@probe("True")
def all_processors():
    return len(os.sched_getaffinity(0)) == len(os.sched_getaffinity(os.getppid()))


@probe("True")
def limits():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 20 and resource.getrlimit(resource.RLIMIT_FSIZE)[1] > 4096


def regions():
    """What can be read; a sanitizer's own maps are too large for anybody."""
    for line in open("/proc/self/maps").readlines():
        span, rights = line.split()[:2]
        begin, end = (int(x, 16) for x in span.split("-"))
        if "r" in rights and "[v" not in line and end - begin < 256 << 20:
            yield begin, end


@probe("[]")
def memory():
    """By way of the kernel, to which nothing is forbidden memory that is there."""
    found, step, overlap = [], 1 << 20, 64
    file = os.memfd_create("window")
    for begin, end in regions():
        for at in range(begin, end, step):
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
            try:
                got = syscall(WRITE, file, ctypes.c_void_p(at), min(step + overlap, end - at))
            except OSError:
                continue
            window = os.pread(file, got, 0)
            here = window.find(PREFIX)
            while here >= 0:
                rest = window[here + len(PREFIX):here + len(PREFIX) + 16]
                if hashlib.sha256(rest).hexdigest() == DIGEST:
                    found.append(f"{window[max(0, here - 24):here + len(PREFIX)]!r} at {at + here:#x}")
                here = window.find(PREFIX, here + 1)
    return found
