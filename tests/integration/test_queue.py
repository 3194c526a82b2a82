# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: priorities, start times, queue time-outs, from outside and over a restart."""
import json
import time

import grpc
import pytest

HOLD = "print('up', flush=True)\nimport time; time.sleep(1000)"


@pytest.fixture
def full(make_node):
    """A node whose only slot is taken."""
    node = make_node(max_concurrent_tasks=1, drain_timeout="100ms").start()
    node.wait_for_output(node.submit(HOLD, task_id="hold"), b"up")
    return node


def started(node, ids):
    """The ids in the order in which they were started."""
    tasks = [node.wait(i)[0] for i in ids]
    assert all(t.state == t.COMPLETED for t in tasks), tasks
    return [t.task_id for t in sorted(tasks, key=lambda t: t.started_us)]


def test_priorities(full):
    for name, priority in (("low", -3), ("plain-1", 0), ("high", 9), ("plain-2", 0), ("highest", 100)):
        full.submit("result = 1", task_id=name, priority=priority)
    assert full.get("high").priority == 9
    assert full.get("high").message == "waits for a free slot"
    full.stop_task("hold")
    order = ["highest", "high", "plain-1", "plain-2", "low"]
    assert started(full, order) == order


def test_priorities_over_a_crash(full):
    for name, priority in (("low", -3), ("high", 9)):
        full.submit("result = 1", task_id=name, priority=priority)
    full.kill()
    full.start()
    assert started(full, ["high", "low"]) == ["high", "low"]
    full.stop()


def test_not_before(make_node):
    node = make_node().start()
    when = int((time.time() + 3600) * 1e6)
    node.submit("result = 1", task_id="later", not_before_us=when)
    assert node.run("result = 2")[1] == b"2"
    waiting = node.get("later")
    assert waiting.state == waiting.QUEUED and waiting.not_before_us == when
    assert waiting.message == "waits until its start time"
    when = int((time.time() + 0.7) * 1e6)
    task, result = node.wait(node.submit("result = 3", not_before_us=when))
    assert result == b"3" and task.started_us >= when
    node.stop()


def test_a_delay_is_the_same_each_time(node, pb, tmp_path):
    """It counts from when the task was accepted; handed in again it is no other task."""
    script = tmp_path / "a.py"
    script.write_text("result = 1")
    before = time.time()
    words = ("submit", "--id", "delayed", "--delay", "1h", script)
    assert node.run_cli(*words).stdout == b"delayed\n"
    start = node.get("delayed").not_before_us
    assert before + 3600 <= start / 1e6 <= time.time() + 3600
    again = node.run_cli(*words)
    assert (again.returncode, again.stdout) == (0, b"delayed\n"), again.stderr
    assert node.get("delayed").not_before_us == start
    with pytest.raises(grpc.RpcError) as caught:
        node.submit("result = 1", task_id="delayed", delay_ms=1)
    assert caught.value.code() == grpc.StatusCode.ALREADY_EXISTS
    node.stop_task("delayed")


def test_queue_timeout(full):
    task, _ = full.wait(full.submit("result = 1", queue_timeout_ms=200))
    assert (task.state, task.reason) == (task.FAILED, task.TIMEOUT_QUEUE)
    assert task.message == "was not started within its queue time-out of 0.2 s"
    assert task.attempt == 0 and task.started_us == 0


def test_queue_timeout_of_the_node(make_node):
    node = make_node(max_concurrent_tasks=1, default_queue_timeout="200ms", drain_timeout="100ms").start()
    node.wait_for_output(node.submit(HOLD, queue_timeout_ms=60000), b"up")
    task, _ = node.wait(node.submit("result = 1"))
    assert task.reason == task.TIMEOUT_QUEUE and task.queue_timeout_ms == 200


def test_when_to_try_again(make_node):
    node = make_node(max_concurrent_tasks=1, max_queued_tasks=2, drain_timeout="100ms").start()
    for _ in range(4):  # so that there is a pace
        node.run("result = 1")
    ids = [node.submit(HOLD), *(node.submit("result = 1") for _ in range(2))]
    with pytest.raises(grpc.RpcError) as caught:
        node.submit("result = 1")
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    hint = int(dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"])
    assert 100 <= hint <= 60000
    assert f"try again in {hint / 1000:.1f} s" in caught.value.details()
    for task_id in ids:
        node.stop_task(task_id)


@pytest.mark.parametrize("fields, named", [
    ({"priority": 101}, "priority is 101"), ({"priority": -2 ** 31}, "priority"),
    ({"not_before_us": -1}, "not_before_us"), ({"not_before_us": 2 ** 63 - 1}, "not_before_us"),
    ({"not_before_us": int(time.time() * 1e9)}, "microseconds since 1970"),
    ({"delay_ms": -1}, "delay_ms"), ({"delay_ms": 2 ** 62}, "delay"), ({"delay_ms": 1, "not_before_us": 1}, "give one"),
    ({"queue_timeout_ms": -1}, "queue_timeout_ms"), ({"queue_timeout_ms": 2 ** 63 - 1}, "queue_timeout_ms")])
def test_what_cannot_be_meant(node, fields, named):
    with pytest.raises(grpc.RpcError) as caught:
        node.submit("result = 1", **fields)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert named in caught.value.details()


def test_the_command_line(full):
    def cli(*arguments, code=0):
        done = full.run_cli(*arguments, input=b"result = 1")
        assert done.returncode == code, done
        return (done.stdout if code == 0 else done.stderr).decode()

    def submit(*options):
        return cli("submit", *options, "-").strip()

    first, second = submit("--priority", "-5"), submit("--priority=5")
    later = submit("--delay", "1h")
    cli("wait", submit("--queue-timeout", "100ms"), code=124)
    shown = json.loads(cli("show", "--json", second))
    assert shown["priority"] == 5 and shown["not_before_us"] == 0
    text = cli("show", later)
    assert "not before" in text and "waits until its start time" in text
    assert "priority" in cli("show", first)
    for wrong, said in (("--priority=high", "--priority"), ("--at=soon", "18:30"), ("--priority=101", "-100 to 100")):
        assert said in cli("submit", wrong, "-", code=2)
    full.stop_task("hold")
    assert started(full, [first, second]) == [second, first]
    cli("stop", later)


def test_stop_all(full):
    queued = [full.submit("result = 1", task_id=f"q{i:03}") for i in range(120)]  # more than a page
    running = full.get("hold")
    assert running.state == running.RUNNING
    done = full.run_cli("stop", "--all")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert lines[-1] == "hold STOPPED", lines[-3:]  # the last, or one of the queue would have been started
    assert sorted(lines[:-1]) == [f"{i} STOPPED" for i in queued]
    assert all(full.get(i).attempt == 0 for i in queued)
    done = full.run_cli("stop", "--all")
    assert done.returncode == 0 and done.stdout == b"" and b"nothing waits or runs" in done.stderr
    for wrong in (["stop"], ["stop", "--all", "hold"]):
        done = full.run_cli(*wrong)
        assert done.returncode == 2 and b"--all" in done.stderr
