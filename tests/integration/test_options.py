# SPDX-License-Identifier: Apache-2.0
"""What an operator sets about sandboxes, on a real node: as root and as an ordinary user."""
import json
import os
import pathlib
import socket
import time

import pytest

from harness.waiting import wait_until
from harness import walls
from harness.node import StartError

CONNECT = """
import errno, socket, sys
try:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as s:
        result = s.recv(5).decode()
except OSError as error:
    result = errno.errorcode.get(error.errno, str(error))
"""
SERVE = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
server.accept()
"""


@pytest.fixture(params=["root", "user"])
def user(request):
    return request.getfixturevalue("ordinary_user" if request.param == "user" else "root")


def layers(pb, numbers):
    return {pb.Receipt.Layer.Name(n) for n in numbers}


def sandboxes(node):
    """How many there are: the launcher's children, the launcher being the daemon's only one."""
    def children(pid):
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    launcher, = children(node.process.pid)
    return len(children(launcher))


def refusal(make_node, **settings):
    """The last words of a node that does not start."""
    node = make_node(**settings)
    with pytest.raises(StartError) as caught:
        node.start()
    return caught.value.returncode, caught.value.log


# --- the network ---

def test_the_network_of_the_host(make_node, pb, user):
    node = make_node(user=user, max_task_network="host", max_concurrent_tasks=2).start()
    assert "MAX_TASK_NETWORK" in node.log()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        for network, outcome in [(pb.NETWORK_NONE, "ENETUNREACH"), (pb.NETWORK_LOOPBACK, "ECONNREFUSED"), (pb.NETWORK_HOST, "hello"),
                                 (pb.NETWORK_NONE, "ENETUNREACH"), (pb.NETWORK_HOST, "hello")]:
            task_id = node.submit(CONNECT, args=[port], network=network)
            if network == pb.NETWORK_HOST:
                connection, _ = server.accept()
                connection.sendall(b"hello")
                connection.close()
            task, result = node.wait(task_id)
            assert json.loads(result) == outcome, task.message
            assert task.receipt.network == network
            assert ("NETWORK_NAMESPACE" in layers(pb, task.receipt.layers)) == (network != pb.NETWORK_HOST)
    shown = node.run_cli("show", task.task_id).stdout.decode()
    assert "network: host\n" in shown


def test_nobody_outside_reaches_the_loopback_of_a_task(make_node, pb, user):
    node = make_node(user=user).start()
    task_id = node.submit(SERVE, network=pb.NETWORK_LOOPBACK)
    port = int(node.wait_for_output(task_id, b"\n"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)
    node.stop_task(task_id)


# --- the interpreter ---

def test_modules_ahead(make_node, pb, user):
    source = "import sys\nresult = 'decimal' in sys.modules"
    node = make_node(user=user, python_preload="decimal,xml.dom").start()
    assert node.run(source)[1] == b"true"
    assert node.run(source, fresh_interpreter=True)[1] == b"false"


def test_a_module_that_cannot_be_loaded(make_node, pb):
    """It is a mistake in the settings: the node ends, and says so, and keeps what it has."""
    node = make_node(python_preload="json").start()
    task_id = node.submit("result = 1", not_before_us=time.time_ns() // 1000 + 3600 * 10**6)
    node.stop()
    node.settings["python_preload"] = "json,no_such_module"
    node.start()
    assert node.wait_for_end() == 1
    said = [e["message"] for e in node.log_entries() if e["level"] == "error"]
    assert any("PYTHON_PRELOAD" in m and "no_such_module" in m for m in said), said
    node.close()
    node.settings["python_preload"] = "json"
    node.start()
    assert node.get(task_id).state == pb.Task.QUEUED


@pytest.mark.parametrize("setting, value, words", [
    ("python_preload", "json,a-b", ["PYTHON_PRELOAD", "a-b"]),
    ("sandbox_paths", "/etc:opt", ["SANDBOX_PATHS", "opt"]),
    ("sandbox_paths", "/proc/1", ["SANDBOX_PATHS", "/proc/1"]),
    ("sandbox_paths", "/no/such/folder", ["SANDBOX_PATHS", "/no/such/folder", "No such file"]),
    ("sandbox_root", "srv", ["SANDBOX_ROOT", "srv", "absolute"]),
    ("sandbox_root", "/no/such/folder", ["SANDBOX_ROOT", "/no/such/folder"]),
    ("sandbox_root", "/etc", ["SANDBOX_ROOT", "/etc", "usr"])])
def test_refused_at_the_start(make_node, setting, value, words):
    code, log = refusal(make_node, **{setting: value})
    assert code in (1, 2) and all(word in log for word in words), log


# --- what tasks see ---

@pytest.fixture
def tree(folder, user):
    """A folder and a file of the host's in which everybody may write, on the host."""
    top = pathlib.Path("/run/lock") / f"hivemind-test-{os.getpid()}"
    (top / "folder").mkdir(parents=True)
    (top / "folder" / "inner").write_text("seen")
    (top / "file").write_text("seen")
    for path in (top / "folder", top / "folder" / "inner", top / "file"):
        path.chmod(0o777)
    yield top
    for path in (top / "folder" / "inner", top / "file"):
        assert path.read_text() == "seen"
        path.unlink()
    (top / "folder").rmdir()  # nothing was made in there
    top.rmdir()


WRITE = """
import errno, sys
def attempt(path):
    try:
        open(path, "w").close()
        return "written"
    except OSError as error:
        return errno.errorcode[error.errno]
result = [open(sys.argv[1]).read()] + [attempt(path) for path in sys.argv[1:]]
"""


def test_paths_of_the_host(make_node, pb, user, tree):
    node = make_node(user=user, sandbox_paths=f"{tree}/folder:{tree}/file:/usr/share").start()
    args = [f"{tree}/folder/inner", f"{tree}/file", f"{tree}/folder/new", f"{tree}/new", "/usr/share/new"]
    for fresh in (False, True):
        task, result = node.run(WRITE, args=args, fresh_interpreter=fresh)
        assert task.state == pb.Task.COMPLETED, task.message + task.error
        seen, *writing = json.loads(result)
        assert seen == "seen" and set(writing) <= {"EROFS", "EACCES"}, writing


def test_a_system_of_its_own(make_node, pb, user):
    """This machine's own under another name: then nothing is warm."""
    node = make_node(user=user, sandbox_root="/.").start()
    task, result = node.run("result = 6 * 7")
    assert (task.state, result, task.receipt.runtime) == (pb.Task.COMPLETED, b"42", pb.Receipt.PYTHON_FRESH), task.message


# --- how many ---

def test_sandboxes_come_with_the_tasks(make_node, pb, user):
    node = make_node(user=user, max_concurrent_tasks=8, spare_sandboxes=1).start()
    wait_until(lambda: sandboxes(node) == 1)
    ids = [node.submit("print('up', flush=True)\nimport time; time.sleep(1000)") for _ in range(8)]
    for task_id in ids:
        node.wait_for_output(task_id, b"up")
    assert sandboxes(node) == 8
    for task_id in ids:
        node.stop_task(task_id)


# --- what was refused ---

def test_refused_calls_are_shown(make_node, pb):
    node = make_node().start()
    numbers = walls.system_call_numbers(["bpf", "ptrace"])
    task, _ = node.run(f"import ctypes\nfor n in ({numbers['bpf']}, {numbers['ptrace']}, {numbers['ptrace']}):\n"
                       " ctypes.CDLL(None).syscall(n, 0, 0, 0, 0, 0)")
    text = node.run_cli("show", task.task_id).stdout.decode()
    line = next(line for line in text.splitlines() if line.startswith("refused calls"))
    row = json.loads(node.run_cli("show", "--json", task.task_id).stdout)["receipt"]
    if "SECCOMP_WATCHED" in layers(pb, task.receipt.layers):
        assert (task.receipt.denied, task.receipt.denied_calls) == (3, "bpf 1, ptrace 2")
        assert "3: bpf 1, ptrace 2" in line and (row["denied"], row["denied_calls"]) == (3, "bpf 1, ptrace 2")
    else:
        assert "bpf" not in line and row["denied"] == 0


def test_nothing_of_the_slots_environment(node):
    own = ["HOME", "LANG", "PATH", "TASK_ID", "TMPDIR"]
    assert json.loads(node.run("import posix\nresult = sorted(k.decode() for k in posix.environ)")[1]) == own
    cold = "import os\nresult = sorted(k for k in os.environ if k != 'LC_CTYPE')"
    assert json.loads(node.run(cold, fresh_interpreter=True)[1]) == own
