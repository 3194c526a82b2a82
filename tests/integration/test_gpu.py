# SPDX-License-Identifier: Apache-2.0
"""GPUs as a resource: with a library that plays NVML, and other devices in the places of theirs."""
import json

import grpc
import pytest

FOR_EVER = "print('up', flush=True)\nimport time\nwhile True: time.sleep(1000)"
# What a task sees: which of the devices it can read, and what it is told.
LOOK = """
import os
def can_read(path):
    try:
        with open(path, "rb", buffering=0) as f:
            return len(f.read(1))
    except OSError:
        return -1
names = ["nvidia18", "nvidia19", "nvidia20", "nvidiactl", "nvidia-uvm"]
result = [{n: can_read("/dev/" + n) for n in names}, os.environ.get("CUDA_VISIBLE_DEVICES"),
          os.environ.get("NVIDIA_VISIBLE_DEVICES"), sorted(os.listdir("/dev/.gpus"))]
"""
# Its /dev: /dev/zero (c 1 5) plays the GPUs, so that one byte can be read of them.
PRIVATE_DEV = """
set -e
mount --make-rprivate /
mkdir -p "$0"
mount -t tmpfs none "$0"
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$0"
mkdir "$0/shm" "$0/pts"
for name in nvidia18 nvidia19 nvidia20 nvidiactl nvidia-uvm; do mknod -m 666 "$0/$name" c 1 5; done
mount --bind "$0" /dev
mount -t tmpfs none /dev/shm
exec "$@"
"""


@pytest.fixture(scope="module")
def gpus(root, programs_for_all, programs, stubs, folder):
    """A node with three GPUs of different sizes, whose devices have the numbers 20, 19 and 18."""
    from conftest import Maker
    library = programs.build / "tests" / "unit" / "machine"
    maker = Maker(programs_for_all, stubs, folder)
    node = maker(max_concurrent_tasks=6)
    node.extra_environment = {"LD_LIBRARY_PATH": str(library)}
    node.prefix = ["unshare", "-m", "sh", "-c", PRIVATE_DEV, str(node.folder / "dev")]
    yield node.start()
    maker.close()


def refused(call, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, caught.value
    for word in words:
        assert word in caught.value.details(), caught.value.details()


def look(node, pb, **fields):
    task, result = node.run(LOOK, **fields)
    assert task.state == pb.Task.COMPLETED, task.message + task.error
    return task, *json.loads(result)


def test_what_there_is(gpus):
    status = gpus.status()
    assert [(g.name, g.uuid, g.tasks, g.whole) for g in status.gpus] == [("Test GPU", f"GPU-{i}", 0, False) for i in range(3)]
    assert all(g.memory_bytes >= 1 << 30 and g.score > 0 for g in status.gpus)
    assert b"GPU 0      Test GPU" in gpus.run_cli("status").stdout
    assert len(json.loads(gpus.run_cli("status", "--json").stdout)["gpus"]) == 3


def test_a_task_without(gpus, pb):
    task, devices, cuda, nvidia, others = look(gpus, pb)
    assert set(devices.values()) <= {0, -1} and (cuda, nvidia, others) == ("", "", [])
    assert list(task.receipt.gpus) == []


@pytest.mark.parametrize("fields", [{}, {"fresh_interpreter": True}])
def test_a_task_with_one(gpus, pb, fields):
    task, devices, cuda, nvidia, others = look(gpus, pb, gpus=1, **fields)
    mine = list(task.receipt.gpus)
    assert len(mine) == 1 and cuda == nvidia == f"GPU-{mine[0]}" and others == []
    own = f"nvidia{20 - mine[0]}"
    assert devices[own] == devices["nvidiactl"] == devices["nvidia-uvm"] == 1
    assert all(devices[f"nvidia{n}"] < 1 for n in (18, 19, 20) if f"nvidia{n}" != own)


def test_its_environment_is_not_its_own(gpus, pb):
    _, _, cuda, _, _ = look(gpus, pb, gpus=1, env={"CUDA_VISIBLE_DEVICES": "GPU-0,GPU-1,GPU-2", "A": "b"})
    assert cuda in ("GPU-0", "GPU-1", "GPU-2")


def test_whole_ones_are_not_shared(gpus, pb):
    """Three run at once, on a device each; the fourth waits and says for what; then it has its turn."""
    running = [gpus.submit(FOR_EVER, gpus=1) for _ in range(3)]
    for task_id in running:
        gpus.wait_for_output(task_id, b"up")
    status = gpus.status()
    assert [(g.tasks, g.whole) for g in status.gpus] == [(1, True)] * 3
    waiting = gpus.submit(LOOK, gpus=2)
    small = gpus.submit("result = 1")  # needs none
    assert gpus.wait(small)[1] == b"1"
    assert gpus.get(waiting).message == "waits for 2 GPUs, of which 0 are free"
    assert b"waits for 2 GPUs" in gpus.run_cli("show", waiting).stdout
    share = gpus.submit("result = 1", gpu_memory_bytes=1 << 30)
    assert gpus.get(share).message == "waits for 1024 MiB of a GPU's memory, of which 0 are free at most"
    for task_id in running:
        gpus.stop_task(task_id)
    task, result = gpus.wait(waiting)
    assert len(task.receipt.gpus) == 2 and json.loads(result)[1].count("GPU-") == 2
    assert gpus.wait(share)[0].state == pb.Task.COMPLETED
    assert not any(g.tasks for g in gpus.status().gpus)


def test_shares(gpus, pb):
    all_of_one = gpus.status().gpus[0].memory_bytes
    half = all_of_one // 2
    first, second = (gpus.submit(FOR_EVER, gpu_memory_bytes=half) for _ in range(2))
    for task_id in (first, second):
        gpus.wait_for_output(task_id, b"up")
    shared = [g for g in gpus.status().gpus if g.tasks]
    assert [(g.tasks, g.whole, g.memory_bytes_allocated) for g in shared] == [(2, False, 2 * half)]
    task, devices, _, _, _ = look(gpus, pb, gpus=2)
    assert len(task.receipt.gpus) == 2 and list(devices.values()).count(1) == 4
    for task_id in (first, second):
        gpus.stop_task(task_id)


def test_what_cannot_be(gpus, make_node, pb):
    refused(lambda: gpus.submit("1", gpus=4), "asks for GPUs", "has 3")
    refused(lambda: gpus.submit("1", gpus=2**32 - 1), "has 3")
    refused(lambda: gpus.submit("1", gpu_memory_bytes=1 << 50), "largest GPU")
    refused(lambda: gpus.submit("1", gpu_memory_bytes=2**64 - 1), "out of range")
    refused(lambda: gpus.submit("1", gpus=1, gpu_memory_bytes=1), "one of them")
    without = make_node().start()
    refused(lambda: without.submit("1", gpus=1), "asks for a GPU", "has 0", "doctor")
    refused(lambda: without.submit("1", gpu_memory_bytes=1), "has 0")
    assert gpus.run_cli("run", "--gpu", "4", "--", "true").returncode == 2
    for wrong in ("0", "17", "-1", "8GPU", "", "0G"):
        assert gpus.run_cli("run", "--gpu", wrong, "--", "true").returncode == 2, wrong


def test_by_hand(gpus):
    done = gpus.run_cli("run", "--gpu", "1", "--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert done.returncode == 0 and done.stdout.startswith(b"GPU-"), done
    task_id = gpus.run_cli("submit", "--gpu", "1G", "--type", "shell", "-", input="true").stdout.decode().strip()
    gpus.wait(task_id)
    assert b"GPUs          " in gpus.run_cli("show", task_id).stdout
    assert len(json.loads(gpus.run_cli("show", "--json", task_id).stdout)["receipt"]["gpus"]) == 1


def test_over_a_restart(gpus, pb):
    """A task that goes on meanwhile has its GPU afterwards."""
    task_id = gpus.submit(FOR_EVER, gpus=2)
    gpus.wait_for_output(task_id, b"up")
    before = [g.whole for g in gpus.status().gpus]
    gpus.detach()
    gpus.start()
    assert [g.whole for g in gpus.status().gpus] == before and before.count(True) == 2
    gpus.stop_task(task_id)
    assert not any(g.tasks for g in gpus.status().gpus)
    assert len(gpus.get(task_id).receipt.gpus) == 2


@pytest.mark.parametrize("how, gpus_left", [("hang", 0), ("crash", 0), ("error", 0), ("lost", 2)])
def test_a_driver_in_trouble(root, make_node, programs, how, gpus_left):
    """The node starts all the same."""
    node = make_node()
    node.extra_environment = {"LD_LIBRARY_PATH": str(programs.build / "tests" / "unit" / "machine"), "FAKE_NVML": how}
    node.prefix = ["unshare", "-m", "sh", "-c", PRIVATE_DEV, str(node.folder / "dev")]
    node.start()
    assert len(node.status().gpus) == gpus_left
    assert gpus_left or "cannot be used" in node.log()


def test_gpus_that_are_left_alone(root, make_node, programs):
    node = make_node(gpus="off")
    node.extra_environment = {"LD_LIBRARY_PATH": str(programs.build / "tests" / "unit" / "machine")}
    node.prefix = ["unshare", "-m", "sh", "-c", PRIVATE_DEV, str(node.folder / "dev")]
    node.start()
    assert len(node.status().gpus) == 0
