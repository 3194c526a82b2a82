# SPDX-License-Identifier: Apache-2.0
"""The same node as root and as an ordinary user: what it can, and what it says that it cannot."""
import json
import os
import pathlib

from harness import processes

LOOK = """
import os
result = {"uid": os.getuid(), "groups": os.getgroups(),
          "status": {k: v.strip() for k, v in (line.split(":", 1) for line in open("/proc/self/status"))}}
print("up", flush=True)
"""


def host_ids(pid, kind="Uid"):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return [int(v) for v in next(line for line in status.splitlines() if line.startswith(kind)).split()[1:]]


def check_task(node, pb):
    task, result = node.run(LOOK)
    assert task.state == pb.Task.COMPLETED, task.message + task.error
    seen = json.loads(result)
    assert seen["uid"] != 0
    assert int(seen["status"]["CapEff"], 16) == int(seen["status"]["CapPrm"], 16) == 0
    assert seen["status"]["NoNewPrivs"] == "1"
    assert 0 not in seen["groups"]


def has_open(pid, path):
    """Sandboxes that wait for a task have processes too, which are nobody's task yet."""
    try:
        return any(os.readlink(fd) == path for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False  # it has ended, or this moment closed one


def test_root_lowers_itself(root, make_node, pb):
    node = make_node().start()
    worker = node.process.pid
    assert 0 not in host_ids(worker) and 0 not in host_ids(worker, "Gid")
    assert int(next(line for line in pathlib.Path(f"/proc/{worker}/status").read_text().splitlines()
                    if line.startswith("CapEff")).split()[1], 16) == 0
    check_task(node, pb)
    # Tasks of two slots run under two users of the host, and neither is the daemon's.
    ids = [node.submit("mark = open('mark', 'w')\nprint('up', flush=True)\nimport time; time.sleep(1000)") for _ in range(2)]
    for task_id in ids:
        node.wait_for_output(task_id, b"up")
    users = {host_ids(p)[0] for p in processes.descendants(worker) if has_open(p, "/workspace/mark")}
    assert len(users) == 2 and 0 not in users and host_ids(worker)[0] not in users
    for task_id in ids:
        node.stop_task(task_id)


def test_ordinary_user(ordinary_user, make_node, pb):
    node = make_node(user=ordinary_user).start()
    check_task(node, pb)
    assert any("root" in w for w in node.status().warnings)
    assert host_ids(node.process.pid)[0] == (os.getuid() if ordinary_user is None else ordinary_user)


def test_ordinary_user_restart_and_crash(ordinary_user, make_node, pb):
    node = make_node(user=ordinary_user).start()
    node.submit("print('up', flush=True)\nimport time; time.sleep(1000)", task_id="t")
    node.wait_for_output("t", b"up")
    node.kill()
    node.start()
    assert node.get("t").reason == pb.Task.LOST


def test_task_cannot_reach_the_storage(make_node, pb):
    node = make_node().start()
    task, result = node.run(f"""
import os
def see(path):
    try:
        return os.listdir(path)
    except OSError as error:
        return type(error).__name__
result = [see({str(node.storage)!r}), see({str(node.folder)!r})]
""")
    assert not any(isinstance(seen, list) and seen for seen in json.loads(result)), result
