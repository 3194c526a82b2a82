# SPDX-License-Identifier: Apache-2.0
"""Results that are there already: `cache` of ExecuteTask, and --cache."""
import json
import signal
import subprocess
import threading
import time

import grpc
import pytest

from test_files import push, refused

# What it returns says whether it ran.
SOURCE = "import os, sys\nresult = [os.urandom(8).hex(), sys.argv[1:], sorted(os.environ.get(n, '') for n in 'AB')]"
USE = dict(cache=1)
REFRESH = dict(cache=2)


def ask(node, pb, source=SOURCE, **fields):
    """(id, result, whether it was somebody else's)"""
    request = pb.ExecuteTaskRequest(task_type=fields.pop("task_type", "python"), task_data=source.encode(), **fields)
    answer = node.stub.ExecuteTask(request, timeout=60)
    return answer.task_id, node.wait(answer.task_id)[1], answer.cached


@pytest.fixture
def fresh(make_node):
    return make_node(max_concurrent_tasks=4).start()


def counts(node):
    status = node.status()
    return status.cache_hits, status.cache_misses


def test_the_same_again(fresh, pb):
    first = ask(fresh, pb, args=["x"], env={"A": "1", "B": "2"}, **USE)
    assert not first[2]
    for _ in range(5):
        assert ask(fresh, pb, args=["x"], env={"B": "2", "A": "1"}, timeout_ms=9000, priority=3, labels={"l": "1"}, **USE) == (*first[:2], True)
    assert counts(fresh) == (5, 1)
    assert len(fresh.stub.ListTasks(pb.ListTasksRequest(), timeout=30).tasks) == 1
    assert ask(fresh, pb, args=["x"], env={"A": "1", "B": "2"})[0] != first[0]  # who does not ask for it runs


@pytest.mark.parametrize("other", [
    dict(args=["y"]), dict(args=["x", ""]), dict(args=[]), dict(env={"A": "2"}), dict(env={}), dict(env={"A": "1", "B": ""}),
    dict(limits=1), dict(network=2), dict(source=SOURCE + "\n"), dict(task_type="shell")])
def test_what_makes_a_difference(node, pb, other):
    usual = dict(args=["x"], env={"A": "1"})
    first = ask(node, pb, **usual, **USE)
    fields = usual | other
    if "limits" in fields:
        fields["limits"] = pb.Limits(memory_bytes=64 << 20)
    if fields.get("task_type") == "shell":
        fields["source"] = "echo " + SOURCE.split("\n")[0]
    second = ask(node, pb, **fields, **USE)
    assert second[0] != first[0]
    assert ask(node, pb, **usual, **USE)[:2] == first[:2]


def test_inputs_by_their_contents(fresh, pb):
    put = lambda name, data: push(fresh, pb, name, data, user="")
    put("a", b"one"), put("b", b"one")
    I = pb.TaskInput
    first = ask(fresh, pb, inputs=[I(name="a", path="x")], **USE)
    assert ask(fresh, pb, inputs=[I(name="b", path="x")], **USE) == (*first[:2], True)
    assert not ask(fresh, pb, inputs=[I(name="a", path="y")], **USE)[2]
    assert not ask(fresh, pb, **USE)[2]
    put("a", b"two")
    assert not ask(fresh, pb, inputs=[I(name="a", path="x")], **USE)[2]
    put("a", b"one")
    assert ask(fresh, pb, inputs=[I(name="a", path="x")], **USE) == (*first[:2], True)
    deadline = time.monotonic() + 60
    while any((fresh.storage / "storage" / "inputs").iterdir()):
        assert time.monotonic() < deadline


def test_refresh(fresh, pb):
    first = ask(fresh, pb, **USE)
    second = ask(fresh, pb, **REFRESH)
    assert second[0] != first[0] and not second[2]
    assert ask(fresh, pb, **USE) == (*second[:2], True)


def test_at_the_same_time_it_runs_once(fresh, pb):
    slow = "import os, time\nprint('up', flush=True)\ntime.sleep(1)\nresult = os.urandom(8).hex()"
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(ask(fresh, pb, slow, **USE))) for _ in range(24)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len({s[:2] for s in seen}) == 1 and sorted(s[2] for s in seen) == [False] + [True] * 23
    assert counts(fresh) == (23, 1)


def test_what_has_failed_is_no_result(fresh, pb):
    source = "import sys; sys.exit(3)"
    first, second = (ask(fresh, pb, source, **USE) for _ in range(2))
    assert first[0] != second[0] and not second[2]
    running = ask_id(fresh, pb, "print('up', flush=True)\nimport time; time.sleep(1000)")
    fresh.wait_for_output(running, b"up")
    fresh.stop_task(running)
    again = ask_id(fresh, pb, "print('up', flush=True)\nimport time; time.sleep(1000)")
    assert again != running
    fresh.stop_task(again)


def ask_id(node, pb, source):
    return node.stub.ExecuteTask(pb.ExecuteTaskRequest(task_type="python", task_data=source.encode(), **USE), timeout=60).task_id


def test_over_restarts_and_retention(make_node, pb):
    node = make_node(max_concurrent_tasks=2).start()
    done = ask(node, pb, **USE)
    waiting = "print('up', flush=True)\nimport time; time.sleep(1000)"
    running = ask_id(node, pb, waiting)
    node.wait_for_output(running, b"up")
    node.detach()
    node.start()
    assert ask(node, pb, **USE) == (*done[:2], True)
    assert ask_id(node, pb, waiting) == running
    node.stop_task(running)
    node.kill()
    node.settings["max_kept_tasks"] = 1
    node.start()
    ask(node, pb, "result = 'another'")
    deadline = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline
        try:
            node.get(done[0])
        except grpc.RpcError:
            break
        ask(node, pb, "result = 'another'")
    assert not ask(node, pb, **USE)[2]


@pytest.mark.parametrize("fields", [dict(task_id="mine", cache=1), dict(task_id="mine", cache=2), dict(after=["x"], cache=1), dict(cache=7), dict(cache=-1)])
def test_what_cannot_be(node, pb, fields):
    refused(lambda: ask(node, pb, **fields), grpc.StatusCode.INVALID_ARGUMENT)


def test_not_in_a_batch(node, pb):
    task = pb.ExecuteTaskRequest(task_type="python", task_data=b"result = 1", cache=1)
    refused(lambda: node.stub.ExecuteBatch(pb.ExecuteBatchRequest(tasks=[task]), timeout=60), grpc.StatusCode.INVALID_ARGUMENT)


def test_an_interrupt_leaves_what_somebody_else_has_begun(fresh, pb, tmp_path):
    source = "print('up', flush=True)\nimport time; time.sleep(1000)"
    (tmp_path / "task.py").write_text(source)
    running = ask_id(fresh, pb, source)
    fresh.wait_for_output(running, b"up")
    run = fresh.popen([str(fresh.programs.cli), "--server", fresh.address, "run", "--cache", "use", str(tmp_path / "task.py")],
                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout.readline() == b"up\n"
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=60)[1]
    assert run.returncode == 130 and running.encode() in said, said
    assert fresh.get(running).state == pb.Task.RUNNING
    fresh.stop_task(running)


def test_by_hand(fresh):
    run = lambda *options: fresh.run_cli("run", *options, "-", input="import os\nprint('ran')\nresult = os.urandom(8).hex()")
    first, second = run("--cache", "use"), run("--cache", "use")
    assert first.returncode == second.returncode == 0 and first.stdout == second.stdout, (first, second)
    assert run("--cache", "refresh").stdout != first.stdout
    submitted = json.loads(fresh.run_cli("submit", "--json", "--cache", "use", "-", input="import os\nprint('ran')\nresult = os.urandom(8).hex()").stdout)
    assert submitted["cached"] is True
    assert b"cache      2 of 3 results" in fresh.run_cli("status").stdout
    assert run("--cache", "sometimes").returncode == 2
