# SPDX-License-Identifier: Apache-2.0
"""Lists, logs, waiting, the node's status."""
import threading

import grpc
import pytest

SLEEP = "print('up', flush=True)\nimport time; time.sleep(1000)"


@pytest.fixture(scope="module")
def filled(node):
    """25 completed, 5 failed, 5 shell tasks, in this order."""
    ids = [node.submit(f"result = {i}") for i in range(25)]
    ids += [node.submit("raise SystemExit(1)") for _ in range(5)]
    ids += [node.submit("true", task_type="shell") for _ in range(5)]
    for i in ids:
        node.wait(i)
    return ids


def pages(node, pb, **fields):
    token, found = "", []
    while True:
        page = node.stub.ListTasks(pb.ListTasksRequest(page_token=token, **fields), timeout=30)
        found.append([t.task_id for t in page.tasks])
        token = page.next_page_token
        if not token:
            return found


def test_newest_first(node, pb, filled):
    assert pages(node, pb) == [filled[::-1]]


@pytest.mark.parametrize("size, want", [(1, [1] * 35), (10, [10, 10, 10, 5]), (35, [35]), (34, [34, 1]), (1000, [35]), (5000, [35])])
def test_pages(node, pb, filled, size, want):
    got = pages(node, pb, page_size=size)
    assert [len(p) for p in got] == want
    assert sum(got, []) == filled[::-1]


def test_filters(node, pb, filled):
    assert sum(pages(node, pb, states=[pb.Task.FAILED], page_size=2), []) == filled[25:30][::-1]
    assert sum(pages(node, pb, states=[pb.Task.COMPLETED, pb.Task.FAILED], page_size=7), []) == filled[::-1]
    assert sum(pages(node, pb, task_type="shell"), []) == filled[30:][::-1]
    assert sum(pages(node, pb, task_type="shell", states=[pb.Task.FAILED]), []) == []
    assert sum(pages(node, pb, task_type="perl"), []) == []
    assert sum(pages(node, pb, states=[pb.Task.RUNNING, pb.Task.QUEUED]), []) == []


def test_a_listed_task_is_the_task(node, pb, filled):
    page = node.stub.ListTasks(pb.ListTasksRequest(page_size=3), timeout=30)
    assert page.tasks
    for task in page.tasks:
        alone = node.get_bare(task.task_id)
        alone.ClearField("receipt")  # which lists do not have
        assert task == alone


@pytest.mark.parametrize("token", ["x", "-1", "99999999999999999999999", "0x1", "\u00fc", " 1", "'"])
def test_bad_page_token(node, pb, filled, token):
    with pytest.raises(grpc.RpcError) as caught:
        node.stub.ListTasks(pb.ListTasksRequest(page_token=token), timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "page_token" in caught.value.details()


def test_bad_states(node, pb, filled):
    for states in ([99], [-1], [pb.Task.STATE_UNSPECIFIED]):
        with pytest.raises(grpc.RpcError) as caught:
            node.stub.ListTasks(pb.ListTasksRequest(states=states), timeout=30)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_pages_do_not_shift_when_tasks_come(node, pb, filled):
    """A task that comes between two pages neither repeats nor hides one (this test adds to the module's node: keep it last
    of those that count)."""
    first = node.stub.ListTasks(pb.ListTasksRequest(page_size=10), timeout=30)
    node.run("result = 'new'")
    second = node.stub.ListTasks(pb.ListTasksRequest(page_size=10, page_token=first.next_page_token), timeout=30)
    assert [t.task_id for t in first.tasks] + [t.task_id for t in second.tasks] == filled[:14:-1]


def test_log_follows_until_the_end(node, pb):
    source = "import time\nfor i in range(5):\n print(i, flush=True)\n time.sleep(0.05)"
    chunks = list(node.chunks(node.submit(source), follow=True))
    assert b"".join(c.data for c in chunks) == b"0\n1\n2\n3\n4\n"
    assert len(chunks) >= 2  # it came while the task ran
    assert all(c.stream == pb.StreamLogsResponse.STDOUT for c in chunks)
    times = [c.time_us for c in chunks]
    assert times == sorted(times) and times[0] > 1_600_000_000_000_000


def test_log_follow_of_a_queued_task(make_node):
    node = make_node(max_concurrent_tasks=1).start()
    first = node.submit(SLEEP)
    node.wait_for_output(first, b"up")
    second = node.submit("print('second')")
    stream = node.chunks(second, follow=True)
    node.stop_task(first)
    assert b"".join(c.data for c in stream) == b"second\n"


def test_log_without_follow_ends_at_once(node):
    task_id = node.submit(SLEEP)
    node.wait_for_output(task_id, b"up")
    assert b"".join(c.data for c in node.chunks(task_id, seconds=10)) == b"up\n"
    node.stop_task(task_id)


def test_log_from_every_offset(node):
    task, _ = node.run("import sys\nfor i in range(10):\n sys.stdout.write(f'line {i}\\n'); sys.stdout.flush()\n"
                       " sys.stderr.write(f'error {i}\\n'); sys.stderr.flush()")
    chunks = list(node.chunks(task.task_id))
    whole = b"".join(c.data for c in chunks)
    seen = b""
    for chunk in chunks:
        seen += chunk.data
        rest = b"".join(c.data for c in node.chunks(task.task_id, offset=chunk.next_offset))
        assert seen + rest == whole
    assert list(node.chunks(task.task_id, offset=chunks[-1].next_offset)) == []


def test_log_from_a_wrong_offset(node):
    task, _ = node.run("print('x' * 100)")
    for offset in (1, 10**6, 2**64 - 1):
        with pytest.raises(grpc.RpcError) as caught:
            list(node.chunks(task.task_id, offset=offset))
        assert caught.value.code() == grpc.StatusCode.OUT_OF_RANGE


def test_log_of_many_megabytes(node):
    task, _ = node.run("import sys\nfor i in range(20): sys.stdout.write(chr(97 + i) * 1000000)")
    assert node.output(task.task_id) == b"".join(bytes([97 + i]) * 1000000 for i in range(20))


def test_many_followers(node):
    task_id = node.submit("import sys\nsys.stdin.read()\nfor i in range(2000): print(i)")
    want = b"".join(b"%d\n" % i for i in range(2000))
    got = []
    threads = [threading.Thread(target=lambda: got.append(b"".join(c.data for c in node.chunks(task_id, follow=True))))
               for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == [want] * 10


def test_wait(node, pb):
    task_id = node.submit("import time; time.sleep(0.3); result = 1")
    task, result = node.wait(task_id)
    assert task.state == pb.Task.COMPLETED and result == b"1"
    again = node.stub.WaitTask(pb.WaitTaskRequest(task_id=task_id), timeout=30)
    assert again.task == task and again.result == b""  # not asked for


def test_many_waiters(node, pb):
    task_id = node.submit(SLEEP)
    node.wait_for_output(task_id, b"up")
    calls = [node.stub.WaitTask.future(pb.WaitTaskRequest(task_id=task_id), timeout=60) for _ in range(200)]
    node.stop_task(task_id)
    assert {c.result().task.state for c in calls} == {pb.Task.STOPPED}


def test_status(make_node, pb):
    node = make_node(node_id="unit-7", max_concurrent_tasks=3, max_queued_tasks=77, max_task_size="2M").start()
    status = node.status()
    assert status.node_id == "unit-7"
    assert status.version.count(".") == 2
    assert status.state == pb.GetStatusResponse.SERVING
    assert (status.max_concurrent_tasks, status.max_queued_tasks, status.max_task_size) == (3, 77, 2 * 1024 * 1024)
    assert (status.running_tasks, status.queued_tasks, status.accepted_tasks) == (0, 0, 0)
    assert status.started_us > 1_600_000_000_000_000
    node.run("result = 1")
    node.run("raise SystemExit(1)")
    task_id = node.submit(SLEEP)
    node.wait_for_output(task_id, b"up")
    assert node.status().running_tasks == 1
    node.stop_task(task_id)
    status = node.status()
    assert (status.accepted_tasks, status.completed_tasks, status.failed_tasks, status.stopped_tasks) == (3, 1, 1, 1)
    assert status.running_tasks == 0
