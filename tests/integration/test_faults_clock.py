# SPDX-License-Identifier: Apache-2.0
"""The wall clock is set, forwards and back, while tasks wait, run and are kept."""
import time

import grpc
import pytest

from harness.shim import Shim

HOUR = 3600
HOLD = "print('up', flush=True)\nimport time; time.sleep(1000)"


@pytest.fixture
def shim(folder):
    shim = Shim(folder / "shim")
    yield shim
    shim.set_clock(0)


@pytest.fixture
def node(shim, make_node):
    return shim.put_under(make_node(max_concurrent_tasks=1, drain_timeout="100ms")).start()


def poke(node):
    """Something that has the queue looked at; otherwise that comes within ten seconds."""
    assert node.run("result = 1", priority=100)[1] == b"1"


def wait_for_event(node, pb, task_id, kind):
    stream = node.stub.WatchTasks(pb.WatchTasksRequest(), timeout=60)
    for event in stream:
        if (event.task_id, event.kind) == (task_id, kind):
            break
    stream.cancel()


def wait_until_gone(node, task_id):
    deadline = time.monotonic() + 60
    with pytest.raises(grpc.RpcError) as caught:
        while time.monotonic() < deadline:
            node.get(task_id)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_start_times_follow_the_clock(shim, node):
    when = shim.now_us() + HOUR * 1_000_000
    node.submit("result = 2", task_id="later", not_before_us=when)
    shim.set_clock(-HOUR)
    poke(node)
    assert node.get("later").state == node.get("later").QUEUED
    shim.set_clock(2 * HOUR)
    poke(node)
    task, result = node.wait("later")
    assert result == b"2" and task.started_us >= when


@pytest.mark.parametrize("restart", [False, True])
def test_a_retry_does_not_wait_for_the_old_time(shim, node, pb, restart):
    """Its delay is a span of time: a clock that is set back does not make it longer."""
    node.submit("raise SystemExit(1)", task_id="again", retries=1, retry_delay_ms=1500)
    wait_for_event(node, pb, "again", pb.TaskEvent.REQUEUED)
    if restart:
        node.kill()
    shim.set_clock(-HOUR)
    if restart:
        node.start()
    poke(node)
    task, _ = node.wait("again", seconds=60)
    assert (task.state, task.attempt) == (task.FAILED, 2)


def test_a_long_delay_ends_when_the_clock_says_so(shim, node, pb):
    node.submit("raise SystemExit(1)", task_id="again", retries=1, retry_delay_ms=HOUR * 1000)
    wait_for_event(node, pb, "again", pb.TaskEvent.REQUEUED)
    poke(node)
    assert node.get("again").attempt == 1
    shim.set_clock(2 * HOUR)
    poke(node)
    assert node.wait("again")[0].attempt == 2


def test_time_outs_do_not_follow_the_clock(shim, node, pb):
    """Neither of a running task, nor of one that waits."""
    node.submit(HOLD, task_id="running", timeout_ms=HOUR * 1000)
    node.wait_for_output("running", b"up")
    node.submit("result = 1", task_id="waits", queue_timeout_ms=HOUR * 1000)
    for offset in (2 * HOUR, -2 * HOUR):
        shim.set_clock(offset)
        expired, _ = node.wait(node.submit("result = 1", queue_timeout_ms=100))  # and the queue is looked at
        assert expired.reason == pb.Task.TIMEOUT_QUEUE
        assert node.get("running").state == pb.Task.RUNNING and node.get("waits").state == pb.Task.QUEUED
    node.stop_task("running")
    assert node.wait("waits")[1] == b"1"
    begun = time.monotonic()
    node.submit(HOLD, task_id="short", timeout_ms=1500)
    node.wait_for_output("short", b"up")
    shim.set_clock(0)
    task, _ = node.wait("short")
    assert task.reason == pb.Task.TIMEOUT_WALL
    assert 1_500_000 <= task.usage.wall_us <= (time.monotonic() - begun) * 1e6


def test_a_queue_time_out_over_a_restart(shim, node, pb):
    """It is reckoned from when the task was handed in, as far as the clock can be believed."""
    node.submit(HOLD, task_id="running", retries=1)
    node.wait_for_output("running", b"up")
    node.submit("result = 1", task_id="long", queue_timeout_ms=HOUR * 1000)
    node.submit("result = 1", task_id="short", queue_timeout_ms=500)
    node.kill()
    shim.set_clock(-HOUR)
    node.start()  # "running" has the slot again
    assert node.wait("short")[0].reason == pb.Task.TIMEOUT_QUEUE
    node.kill()
    shim.set_clock(2 * HOUR)
    node.start()
    assert node.wait("long")[0].reason == pb.Task.TIMEOUT_QUEUE


def test_order_does_not_hang_on_the_clock(shim, node, pb):
    """Neither what comes after what, nor the events, nor how long a task ran."""
    node.submit(HOLD, task_id="first")
    node.wait_for_output("first", b"up")
    node.submit("result = 1", task_id="second", after=["first"], after_any=True)
    shim.set_clock(-HOUR)
    node.submit("result = 1", task_id="third", after=["second"])
    node.stop_task("first")
    assert node.wait("third")[0].state == pb.Task.COMPLETED
    assert node.get("first").usage.wall_us < 600 * 1_000_000
    seen = list(node.stub.WatchTasks(pb.WatchTasksRequest(only_past=True), timeout=60))
    k = pb.TaskEvent
    order = [(e.task_id, e.kind) for e in seen if e.kind in (k.STARTED, k.STOPPED, k.COMPLETED)]
    assert order == [("first", k.STARTED), ("first", k.STOPPED), ("second", k.STARTED), ("second", k.COMPLETED),
                     ("third", k.STARTED), ("third", k.COMPLETED)]
    node.kill()
    shim.set_clock(HOUR)
    node.start()
    listed = node.stub.ListTasks(pb.ListTasksRequest(page_size=10), timeout=30).tasks
    assert [t.task_id for t in listed] == ["third", "second", "first"]


def test_retention(shim, make_node):
    """Goes by the clock. What is from the future stays, and so does what is open."""
    node = shim.put_under(make_node(retention="30m", drain_timeout="100ms"))
    for task_id, offset in (("of-tomorrow", 24 * HOUR), ("old", -HOUR)):
        shim.set_clock(offset)
        node.start()
        node.run("result = 1", task_id=task_id)
        if offset < 0:
            node.submit("result = 1", task_id="waits", not_before_us=shim.now_us() + 100 * HOUR * 1_000_000)
        node.kill()
        shim.set_clock(-2 * HOUR)  # so that no start looks before the last
    shim.set_clock(0)
    node.start()
    wait_until_gone(node, "old")
    assert node.get("of-tomorrow").state == node.get("of-tomorrow").COMPLETED
    assert node.get("waits").state == node.get("waits").QUEUED
    node.kill()
    shim.set_clock(25 * HOUR)
    node.start()
    wait_until_gone(node, "of-tomorrow")
    assert node.get("waits").state == node.get("waits").QUEUED
