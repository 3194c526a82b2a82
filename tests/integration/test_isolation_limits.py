# SPDX-License-Identifier: Apache-2.0
"""What a task may ask for, whether it holds, and whether its receipt tells the truth about it.

Every bomb here is bounded by itself too: where a limit does not hold it ends in good order, and the test fails, not the
machine.
"""
import json
import secrets

import grpc
import pytest

from harness import walls

MIB = 1 << 20
MEMORY = 128 * MIB
CGROUP_LAYERS = ("CGROUP_MEMORY", "CGROUP_CPU", "CGROUP_PIDS")


def layers(pb, numbers):
    return {pb.Receipt.Layer.Name(n) for n in numbers}


def receipt_of(cell, pb, data="result = 1", **fields):
    task, result = cell.run(data, timeout_ms=30_000, **fields)
    assert task.state == pb.Task.COMPLETED, task.message + task.error
    return task.receipt, result


@pytest.fixture
def cgroups(cell, pb):
    """The node, where cgroups are to be had: for root. The machine not having them would show in every receipt."""
    if not cell.kind.startswith("root"):
        receipt, _ = receipt_of(cell, pb)
        assert not layers(pb, receipt.layers) & set(CGROUP_LAYERS), "an ordinary user has cgroups here: then test them"
        pytest.skip("an ordinary user has no cgroups")
    return cell


# --- memory ---

BOMBS = {
    "its own": "held = []\nfor _ in range(96): held.append(bytearray(b'x' * (4 << 20)))",
    "of many processes": "import os, time\nfor _ in range(12):\n if os.fork() == 0:\n  held = b'x' * (32 << 20); time.sleep(5); os._exit(0)\nfor _ in range(12): os.wait()",
    "of a child alone": "import subprocess, sys\nsubprocess.run([sys.executable or '/usr/bin/python3', '-c', 'x = bytearray(b\"x\" * (384 << 20))'])",
    "in /dev/shm": "fill('/dev/shm/x', 240)\nfill('/tmp/x', 240)",
    "in /tmp": "fill('/tmp/x', 250)\nfill('/dev/shm/x', 250)",
    "in /workspace": "fill('/workspace/x', 384)",
    "in a memory file": "import os\nfd = os.memfd_create('x')\nfor _ in range(96): os.write(fd, b'x' * (4 << 20))",
    "shared": "import mmap\narea = mmap.mmap(-1, 384 << 20)\nfor at in range(0, 384 << 20, 4096): area[at] = 1",
}
FILL = "def fill(path, mib):\n mebibyte = b'x' * (1 << 20)\n with open(path, 'wb', 0) as f:\n  for _ in range(mib): f.write(mebibyte)\n"


@pytest.mark.parametrize("kind", BOMBS)
def test_memory_bomb(cgroups, pb, kind):
    name = f"bomb-{secrets.token_hex(4)}"
    source = f"import ctypes\nctypes.CDLL(None).prctl(15, {name!r}.encode(), 0, 0, 0)\n{FILL}{BOMBS[kind]}\nresult = 'survived'"
    task, result = cgroups.run(source, timeout_ms=60_000, limits=pb.Limits(memory_bytes=MEMORY))
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.OOM), f"{task.message} {result[:80]}"
    assert MEMORY // 2 < task.usage.peak_memory_bytes <= MEMORY + 4 * MIB
    assert not walls.named(name)


def test_running_out_of_memory_ends_the_whole_task(cgroups, pb):
    """Not only the process that the kernel chose: whoever is left could make anything of it."""
    task, result = cgroups.run("python3 -c 'x = bytearray(b\"x\" * (384 << 20))'; echo survived; sleep 5", task_type="shell",
                               timeout_ms=60_000, limits=pb.Limits(memory_bytes=MEMORY))
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.OOM), task.message
    assert b"survived" not in result


def test_memory_within_the_limit(cgroups, pb):
    receipt, result = receipt_of(cgroups, pb, "x = bytearray(b'x' * (32 << 20)); result = len(x)", limits=pb.Limits(memory_bytes=MEMORY))
    assert result == str(32 << 20).encode() and receipt.limits.memory_bytes == MEMORY


def test_memory_of_the_one_before_is_not_counted(cgroups, pb):
    for _ in range(6):
        task, _ = cgroups.run(FILL + "fill('/workspace/x', 80)", timeout_ms=60_000, limits=pb.Limits(memory_bytes=MEMORY))
        assert task.state == pb.Task.COMPLETED, task.message


def test_memory_in_sockets(cgroups, pb):
    """What was sent to a socket and not yet received is memory, too."""
    source = """
import socket
sender, receivers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), []
for _ in range(350):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    receiver.bind(("127.0.0.1", 0))
    receivers.append(receiver)
    for _ in range(30):
        try:
            sender.sendto(bytes(60000), socket.MSG_DONTWAIT, receiver.getsockname())
        except OSError:
            break
result = 0
for receiver in receivers:
    receiver.setblocking(False)
    try:
        while True:
            result += len(receiver.recv(65536))
    except OSError:
        pass
"""
    task, result = cgroups.run(source, timeout_ms=60_000, network=pb.NETWORK_LOOPBACK, limits=pb.Limits(memory_bytes=MEMORY))
    if task.state != pb.Task.COMPLETED:
        assert task.reason == pb.Task.OOM, task.message
    else:
        assert 0 < int(result) <= MEMORY


# --- processes ---

COUNT = """
import os, signal
n = 0
result = "no limit was met"
try:
    while n < 500:
        if os.fork() == 0:
            signal.pause()
        n += 1
except OSError as error:
    result = [n, error.strerror]
"""


def test_number_of_processes(cell, pb):
    task, result = cell.run(COUNT, timeout_ms=60_000, limits=pb.Limits(processes=20))
    assert json.loads(result) != "no limit was met", task.message
    made, why = json.loads(result)
    assert 10 < made <= 20 and why == "Resource temporarily unavailable", task.message
    assert task.state == pb.Task.COMPLETED
    task, _ = cell.run(COUNT.replace("500", "5"), timeout_ms=60_000, limits=pb.Limits(processes=20))
    assert task.state == pb.Task.COMPLETED, task.message


def test_threads_are_processes(cell, pb):
    _, result = cell.run("""
import threading
stop, n = threading.Event(), 0
try:
    while n < 500:
        threading.Thread(target=stop.wait, daemon=True).start()
        n += 1
except RuntimeError:
    pass
stop.set()
result = n
""", timeout_ms=60_000, limits=pb.Limits(processes=20))
    assert 10 < int(result) <= 20


def test_a_bad_end_for_want_of_processes(cgroups, pb):
    task, _ = cgroups.run("import os, signal\nwhile True:\n if os.fork() == 0: signal.pause()", timeout_ms=60_000, limits=pb.Limits(processes=20))
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.PIDS_LIMIT), task.message


# --- processors ---

@pytest.mark.parametrize("burner", ["while True: pass", "import os\nfor _ in range(3): os.fork()\nwhile True: pass",
                                    "import os\nwhile True:\n if os.fork() == 0:\n  for _ in range(10 ** 6): pass\n  os._exit(0)\n os.wait()"])
def test_processor_time(cgroups, pb, burner):
    task, _ = cgroups.run(burner, timeout_ms=15_000, limits=pb.Limits(cpu_time_us=500_000))
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.TIMEOUT_CPU), task.message
    assert 400_000 < task.usage.user_us + task.usage.system_us < 3_000_000


def test_share_of_a_processor(cgroups, pb):
    source = "import os, time\nend = time.monotonic() + 2\nfor _ in range(3): os.fork()\nwhile time.monotonic() < end: pass"
    task, _ = cgroups.run(source, timeout_ms=60_000, limits=pb.Limits(cpu_millis=200))
    used = (task.usage.user_us + task.usage.system_us) / task.usage.wall_us
    assert used < 0.4, f"{used:.2f} processors of 0.2"


# --- files and output ---

WRITE = """
import errno, os
def fill(path, mib):
    n = 0
    with open(path, "wb", 0) as f:
        try:
            while n < mib << 20:
                n += f.write(b"x" * 65536)
        except OSError as error:
            return [errno.errorcode[error.errno], n]
    return ["room", n]
"""


@pytest.mark.parametrize("path, field", [("/workspace/x", "workspace_bytes"), ("/tmp/x", "tmp_bytes"), ("/dev/shm/x", "tmp_bytes"),
                                         ("/var/tmp/x", "tmp_bytes")])
def test_size_of_folders(cell, pb, path, field):
    receipt, result = receipt_of(cell, pb, WRITE + f"result = fill({path!r}, 16)", limits=pb.Limits(**{field: 4 * MIB}))
    why, written = json.loads(result)
    assert why == "ENOSPC" and MIB < written <= 4 * MIB
    assert getattr(receipt.limits, field) == 4 * MIB


def test_size_of_a_file(cell, pb):
    receipt, result = receipt_of(cell, pb, WRITE + "result = fill('/workspace/x', 16)", limits=pb.Limits(file_bytes=MIB))
    assert json.loads(result) == ["EFBIG", MIB] and receipt.limits.file_bytes == MIB


def test_open_files(cell, pb):
    source = "import os\nn = 0\ntry:\n while n < 1000: os.dup(0); n += 1\nexcept OSError: pass\nos.closerange(5, 1100)\nresult = n"
    receipt, result = receipt_of(cell, pb, source, limits=pb.Limits(open_files=32))
    assert 16 < int(result) < 32 and receipt.limits.open_files == 32


def test_size_of_the_output(cell, pb):
    task, _ = cell.run("import os\nfor _ in range(100): os.write(1, b'x' * 4096); os.write(2, b'y' * 4096)", limits=pb.Limits(output_bytes=65536))
    assert task.state in (pb.Task.COMPLETED, pb.Task.FAILED)
    assert task.log_truncated and 0 < task.log_size <= 65536


# --- asking for too much ---

@pytest.mark.parametrize("field", ["memory_bytes", "cpu_millis", "processes", "open_files", "file_bytes", "workspace_bytes", "tmp_bytes",
                                   "output_bytes"])
def test_more_than_there_is(cell, pb, field):
    """More than the node's own limit. (Where the node has none, any number is within it.)"""
    receipt, _ = receipt_of(cell, pb)
    if field == "cpu_millis" and not receipt.limits.cpu_millis:
        return
    request = pb.ExecuteTaskRequest(task_type="shell", task_data=b"echo ran", limits=pb.Limits(**{field: 1 << 50}))
    with pytest.raises(grpc.RpcError) as caught:
        cell.stub.ExecuteTask(request, timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, caught.value.details()
    assert field in caught.value.details()


def test_more_network_than_allowed(cell, pb):
    request = pb.ExecuteTaskRequest(task_type="shell", task_data=b"echo ran", network=pb.NETWORK_HOST)
    with pytest.raises(grpc.RpcError) as caught:
        cell.stub.ExecuteTask(request, timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, caught.value.details()


# --- the network ---

TALK = """
import errno, socket
def attempt(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        return "connected"
    except OSError as error:
        return errno.errorcode[error.errno]
def table():
    return [line.split()[1] for line in open("/proc/net/tcp").readlines()[1:]]
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
"""


def test_loopback_is_its_own(cell, pb):
    own = TALK + f"result = [attempt(server.getsockname()[1]), attempt({cell.port})]"
    receipt, result = receipt_of(cell, pb, own, network=pb.NETWORK_LOOPBACK)
    assert json.loads(result) == ["connected", "ECONNREFUSED"] and receipt.network == pb.NETWORK_LOOPBACK
    beside = cell.submit(TALK + "print(server.getsockname()[1], flush=True)\nimport time; time.sleep(1000)", network=pb.NETWORK_LOOPBACK)
    port = int(cell.wait_for_output(beside, b"\n"))
    _, result = receipt_of(cell, pb, TALK.partition("server =")[0] + f"result = attempt({port})", network=pb.NETWORK_LOOPBACK)
    assert json.loads(result) == "ECONNREFUSED"
    cell.stop_task(beside)


def test_connections_leave_nothing_for_the_next(cell, pb):
    """What the kernel keeps of a closed connection for a minute belongs to the task that made it."""
    for network in (pb.NETWORK_LOOPBACK, pb.NETWORK_NONE, pb.NETWORK_LOOPBACK, pb.NETWORK_NONE) * 3:
        before = TALK.partition("server =")
        receipt, result = receipt_of(cell, pb, before[0] + "seen = table()\n" + (
            before[1] + before[2] + "a = socket.create_connection(server.getsockname()); b = server.accept()[0]\na.close(); b.close()\n"
            if network == pb.NETWORK_LOOPBACK else "") + "result = [seen, attempt(9)]", network=network)
        seen, outcome = json.loads(result)
        assert seen == []
        assert outcome == ("ECONNREFUSED" if network == pb.NETWORK_LOOPBACK else "ENETUNREACH"), "the interface is not as asked for"
        assert receipt.network == network


# --- the receipt ---

def test_receipt_of_an_ordinary_task(cell, pb):
    receipt, _ = receipt_of(cell, pb)
    have, lack = layers(pb, receipt.layers), layers(pb, receipt.missing)
    assert not have & lack
    assert {"USER_NAMESPACE", "PID_NAMESPACE", "MOUNT_NAMESPACE", "NETWORK_NAMESPACE", "IPC_NAMESPACE", "UTS_NAMESPACE", "NO_CAPABILITIES",
            "NO_NEW_PRIVILEGES", "SECCOMP", "READ_ONLY_ROOT", "PRIVATE_FOLDERS", "RESOURCE_LIMITS"} <= have
    own = {"OWN_USER", *CGROUP_LAYERS}
    assert own <= (have if cell.kind.startswith("root") else lack)
    assert receipt.runtime == (pb.Receipt.PYTHON_WARM if cell.kind.endswith("warm") else pb.Receipt.PYTHON_FRESH)
    assert receipt.network in (pb.NETWORK_NONE, pb.NETWORK_LOOPBACK)
    assert receipt.denied == 0 and receipt.denied_calls == ""
    assert receipt_of(cell, pb, "echo x", task_type="shell")[0].runtime == pb.Receipt.SHELL


def test_receipt_has_the_limits_as_applied(cell, pb):
    asked = dict(processes=33, open_files=44, file_bytes=5 * MIB, workspace_bytes=6 * MIB, tmp_bytes=7 * MIB)
    receipt, result = receipt_of(cell, pb, "import os, resource as r\nresult = [r.getrlimit(k)[1] for k in (r.RLIMIT_NOFILE, r.RLIMIT_FSIZE)] + "
                                           "[os.statvfs(p).f_blocks * os.statvfs(p).f_frsize for p in ('/workspace', '/tmp')]",
                                 limits=pb.Limits(**asked))
    assert {name: getattr(receipt.limits, name) for name in asked} == asked
    assert json.loads(result) == [44, 5 * MIB, 6 * MIB, 7 * MIB]
    if cell.kind.startswith("user"):  # nothing that it cannot keep
        assert receipt.limits.memory_bytes == receipt.limits.cpu_millis == 0


def test_receipt_names_refused_calls(cell, pb):
    numbers = walls.system_call_numbers(["bpf", "ptrace"])
    receipt, _ = receipt_of(cell, pb, f"import ctypes\nfor n in ({numbers['bpf']}, {numbers['ptrace']}, {numbers['ptrace']}):\n"
                                      " ctypes.CDLL(None).syscall(n, 0, 0, 0, 0, 0)\nresult = 1")
    if "SECCOMP_WATCHED" in layers(pb, receipt.layers):
        assert receipt.denied == 3 and receipt.denied_calls == "bpf 1, ptrace 2"
    else:
        assert "SECCOMP_WATCHED" in layers(pb, receipt.missing)
        assert receipt.denied == 0 and receipt.denied_calls == ""


def test_a_flood_of_refused_calls(cell, pb):
    """Counting them must not be a way to stop the node."""
    number = walls.system_call_numbers(["bpf"])["bpf"]
    task_id = cell.submit(f"import ctypes\ncall = ctypes.CDLL(None).syscall\nwhile True: call({number}, 0, 0, 0)", timeout_ms=1500)
    for _ in range(10):
        walls.answers(cell)
    task, _ = cell.wait(task_id)
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.TIMEOUT_WALL), task.message
    assert len(task.receipt.denied_calls) < 96


def test_an_interpreter_of_its_own(cell, pb):
    """Its address layout is its own as well."""
    seen = set()
    for _ in range(3):
        receipt, result = receipt_of(cell, pb, "result = [hex(id(None)), hash('seed')]", fresh_interpreter=True)
        assert receipt.runtime == pb.Receipt.PYTHON_FRESH
        seen.add(result)
    assert len(seen) == 3


def test_lists_have_no_receipts(cell, pb):
    receipt, _ = receipt_of(cell, pb)
    assert receipt.runtime
    tasks = cell.stub.ListTasks(pb.ListTasksRequest(page_size=5), timeout=30).tasks
    assert tasks and not any(t.HasField("receipt") for t in tasks)


def test_usage_is_of_all_processes(cell, pb):
    task, _ = cell.run("""
import os
for _ in range(4):
    if os.fork() == 0:
        with open(f"/workspace/{os.getpid()}", "wb") as f:
            f.write(b"x" * (1 << 20))
        for _ in range(2_000_000): pass
        os._exit(0)
for _ in range(4): os.wait()
""", timeout_ms=60_000)
    assert task.state == pb.Task.COMPLETED, task.message
    assert task.usage.user_us > 50_000 and task.usage.minor_faults > 100
    assert task.usage.written_bytes >= 4 * MIB
    assert 5 <= task.usage.processes <= 8
