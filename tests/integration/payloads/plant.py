# SPDX-License-Identifier: Apache-2.0
# Leaves behind whatever a task can, for the next one in the same sandbox to stumble over.
import atexit
import builtins
import gc
import json
import os
import random
import resource
import signal
import socket
import sys

from probing import probe


@probe("planted")
def files():
    for folder in ("/tmp", "/workspace", "/dev/shm", "/var/tmp"):
        with open(f"{folder}/left", "w") as file:
            file.write("secret")
        os.chmod(f"{folder}/left", 0o777)
    os.makedirs("/workspace/json", exist_ok=True)  # a module that shadows the real one
    open("/workspace/random.py", "w").write("raise RuntimeError('planted')")
    return "planted"


def stay():
    """In the background, out of the task's session, holding names that the next one might use."""
    ready, tell = os.pipe()
    if os.fork():
        assert os.read(ready, 1) == b"x"
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for sig in range(1, 65):
        try:
            signal.signal(sig, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    local, inet = socket.socket(socket.AF_UNIX), socket.socket()
    local.bind("\0left")
    local.listen()
    inet.bind(("0.0.0.0", 4711))
    inet.listen()
    os.write(tell, b"x")
    while True:
        signal.pause()


slot = os.readlink("/proc/self/ns/net")
stay()
os.environ["LEFT"] = "secret"
os.environ["PATH"] = "/workspace"
builtins.open = builtins.len = builtins.LEFT = None
json.dumps = json.loads = None
sys.modules["left"] = sys
sys.modules["re"] = None
sys.path.insert(0, "/workspace")
sys.argv.append("left")
sys.setrecursionlimit(120)
random.seed(1)
gc.disable()
sys.excepthook = sys.displayhook = None
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 30))
os.umask(0)
os.nice(10)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
os.chmod("/workspace", 0)
os.chdir("/")
atexit.register(os.write, 1, b"end\n")
os.write(1, b"slot=" + slot.encode() + b"\n")
