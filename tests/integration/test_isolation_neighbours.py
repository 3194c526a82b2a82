# SPDX-License-Identifier: Apache-2.0
"""What tasks can know of each other and do to each other: at the same time, and one after another in the same sandbox."""
import hashlib
import json
import os
import re
import secrets

import pytest

from harness import processes, walls

SHARED_SLOTS = 3  # so many successors in a predecessor's slot are looked at
PAIRS = 20  # and that many may be tried to find them

SITTER = """
import ctypes, os, socket, time
for folder in ("/tmp", "/workspace", "/dev/shm"):
    with open(folder + "/secret", "w") as f:
        f.write("secret")
s = socket.socket(socket.AF_UNIX)
s.bind("\\0secret")
s.listen()
ctypes.CDLL(None).prctl(15, NAME.encode(), 0, 0, 0)
print("up", flush=True)
time.sleep(1000)
"""


def sitter(node, name):
    task_id = node.submit(f"NAME = {name!r}\n{SITTER}", env={"SECRET": "secret"})
    node.wait_for_output(task_id, b"up")
    return task_id


def test_at_the_same_time(cell, pb):
    name = f"sit-{secrets.token_hex(4)}"
    beside = sitter(cell, name)
    pids = sorted(walls.named(name))
    assert pids, "the neighbour is not seen from outside either"
    walls.attack(cell, pb, "beside", at_least=20, PIDS=[*pids, cell.process.pid, os.getpid()], PORT=cell.port)
    assert cell.get(beside).state == pb.Task.RUNNING
    assert walls.named(name) == set(pids)
    assert cell.stop_task(beside).task.state == pb.Task.STOPPED


@pytest.mark.parametrize("who", ["itself", "a grandchild"])
def test_kill_everybody(cell, pb, who):
    """kill(-1) finds nobody but the task's own processes."""
    name = f"sit-{secrets.token_hex(4)}"
    beside = sitter(cell, name)
    if who == "itself":
        task, _ = cell.run("""
import os, signal, subprocess
child = subprocess.Popen(["sleep", "1000"])
os.kill(-1, signal.SIGKILL)
assert child.wait() == -9
for all_others in range(3):
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
result = "alone"
""")
        assert task.state == pb.Task.COMPLETED, task.message + task.error
    else:
        task, _ = cell.run("(setsid python3 -c 'import os; os.kill(-1, 9)' &) ; sleep 1000", task_type="shell", timeout_ms=30_000)
        assert (task.state, task.reason, task.signal) == (pb.Task.FAILED, pb.Task.SIGNAL, 9), task.message
    assert cell.get(beside).state == pb.Task.RUNNING
    assert cell.stop_task(beside).task.state == pb.Task.STOPPED


def test_one_after_another(cell, pb):
    """Nothing of the first, in whatever it was allowed to spoil, is there for the second."""
    shared = 0
    for _ in range(PAIRS):
        prefix, rest = secrets.token_hex(6).encode(), secrets.token_hex(8).encode()
        planted = cell.submit(walls.source_of("plant"), env={"SECRET": (prefix + rest).decode() + "x" * 100},
                              args=["argument-" + (prefix + rest).decode()], timeout_ms=60_000)
        cell.wait(planted)
        slot = re.search(rb"slot=(.*)\n", cell.output(planted))
        assert slot, cell.get(planted).error
        cell.run("pass")  # in the other of the two sandboxes, which has been idle for longer; then it is this one's turn again
        source = walls.source_of("after", SLOT=slot.group(1).decode(), NICE=os.getpriority(os.PRIO_PROCESS, 0), PREFIX=prefix,
                                 DIGEST=hashlib.sha256(rest).hexdigest())
        task, result = cell.run(source, timeout_ms=60_000)
        assert task.state == pb.Task.COMPLETED, task.message + task.error
        report = json.loads(result)
        assert len(report) >= 20
        wrong = walls.wrong_ones(report)
        assert not wrong, "\n".join(f"{probe}: {what}" for probe, what in sorted(wrong.items()))
        shared += report["slot"][0] == "same"
        if shared == SHARED_SLOTS:
            break
    assert shared == SHARED_SLOTS, f"only {shared} of {PAIRS} ran where the one before had"


def test_shell_after_shell(cell, pb):
    for _ in range(6):
        task, result = cell.run("""
ls -A /tmp /var/tmp /workspace /dev/shm | grep -v : ; ls -d /proc/[0-9]* | wc -l
env | grep -c LEFT
touch /tmp/left /workspace/left /dev/shm/left /var/tmp/left
LEFT=secret setsid sleep 1000 &
""", task_type="shell", env={"ASKED": "yes"})
        # Itself, ls and wc: with hidepid, pid 1 is not seen by all.
        words = result.decode().split()
        assert task.state == pb.Task.COMPLETED and "left" not in words, result
        assert int(words[0]) <= 5 and words[1] == "0", result


def test_nothing_of_a_task_stays_in_the_node(cell, pb):
    """What a task leaves running ends with it: as soon as its end is told, nothing of it is there."""
    name = f"bg-{secrets.token_hex(4)}"
    task, _ = cell.run(f"""
import ctypes, os, signal, time
def stay():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(15, {name!r}.encode(), 0, 0, 0)
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
            os.write(w, b"x")
            os.closerange(0, 64)
            while True:
                time.sleep(1000)
        os._exit(0)
r, w = os.pipe()
for _ in range(5):
    stay()
for _ in range(5):
    assert os.read(r, 1) == b"x"
result = "gone"
""")
    assert task.state == pb.Task.COMPLETED, task.message + task.error
    assert not walls.named(name)
    assert processes.descendants(cell.process.pid)  # the slots live on
