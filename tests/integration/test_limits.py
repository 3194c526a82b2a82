# SPDX-License-Identifier: Apache-2.0
"""Time-outs, stopping, the bounds of the queue and of what is kept."""
import threading

import grpc
import pytest

SLEEP = "print('up', flush=True)\nimport time; time.sleep(1000)"


def code_of(call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=60, **options)
    return caught.value.code()


def test_wall_clock_timeout(node, pb):
    task, _ = node.run(SLEEP, timeout_ms=300)
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.TIMEOUT_WALL)
    assert task.usage.wall_us >= 300_000
    assert task.finished_us - task.started_us < 5_000_000
    assert "300 ms" in task.message or "0.3" in task.message
    assert node.output(task.task_id) == b"up\n"


def test_timeout_of_a_task_that_ignores_signals(node, pb):
    source = "import signal, time\nfor s in range(1, 65):\n try: signal.signal(s, signal.SIG_IGN)\n except (OSError, ValueError): pass\n" \
             "while True: time.sleep(1)"
    task, _ = node.run(source, timeout_ms=500)
    assert task.reason == pb.Task.TIMEOUT_WALL


def test_timeout_kills_the_whole_tree(node, pb):
    task, _ = node.run("setsid sleep 1000 & sleep 1000 | cat & wait", task_type="shell", timeout_ms=300)
    assert task.reason == pb.Task.TIMEOUT_WALL


def test_default_timeout_is_a_setting(make_node, pb):
    node = make_node(default_timeout="400ms").start()
    task, _ = node.run(SLEEP)
    assert task.reason == pb.Task.TIMEOUT_WALL and task.timeout_ms == 400
    assert node.run("result = 1", timeout_ms=60_000)[1] == b"1"


def test_time_in_the_queue_does_not_count(make_node, pb):
    node = make_node(max_concurrent_tasks=1).start()
    first = node.submit("import time; time.sleep(1)")
    task, result = node.run("result = 1", timeout_ms=900)
    assert task.state == pb.Task.COMPLETED, task.message
    assert node.get(first).state == pb.Task.COMPLETED


def test_stop_of_a_running_task(node, pb):
    task_id = node.submit(SLEEP)
    node.wait_for_output(task_id, b"up")
    answer = node.stop_task(task_id)
    assert answer.success
    assert (answer.task.state, answer.task.reason) == (pb.Task.STOPPED, pb.Task.STOPPED_BY_USER)
    assert node.get_bare(task_id) == answer.task
    assert node.stop_task(task_id).success  # again: it is stopped, as asked for


def test_stop_of_a_silent_task(node, pb):
    """One that neither prints nor listens. That it runs is seen from its state."""
    task_id = node.submit("while True: pass")
    while node.get(task_id).state != pb.Task.RUNNING:  # no event for this in the interface; each call is a round trip
        pass
    answer = node.stop_task(task_id, seconds=10)
    assert answer.task.state == pb.Task.STOPPED


def test_stop_while_it_starts(node, pb):
    """At whatever point of its start a stop comes, there is one end and it is the right one."""
    for _ in range(20):
        task_id = node.submit(SLEEP)
        assert node.stop_task(task_id).task.state == pb.Task.STOPPED


def test_stop_answers_all_who_wait(node, pb):
    task_id = node.submit(SLEEP)
    node.wait_for_output(task_id, b"up")
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(node.wait(task_id)[0].state)) for _ in range(5)]
    threads += [threading.Thread(target=lambda: seen.append(node.stop_task(task_id).task.state)) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert seen == [pb.Task.STOPPED] * 10


def test_stop_of_an_ended_task(node, pb):
    task, _ = node.run("result = 1")
    assert code_of(node.stub.StopTask, pb.StopTaskRequest(task_id=task.task_id)) == grpc.StatusCode.FAILED_PRECONDITION
    assert node.get(task.task_id).state == pb.Task.COMPLETED


def test_queue_bound_and_stop_of_queued(make_node, pb):
    node = make_node(max_concurrent_tasks=1, max_queued_tasks=3).start()
    running = node.submit(SLEEP)
    node.wait_for_output(running, b"up")
    queued = [node.submit(f"result = {i}") for i in range(3)]
    status = node.status()
    assert (status.running_tasks, status.queued_tasks, status.max_queued_tasks) == (1, 3, 3)
    request = pb.ExecuteTaskRequest(task_type="python", task_data=b"result = 9", task_id="too-many")
    assert code_of(node.stub.ExecuteTask, request) == grpc.StatusCode.RESOURCE_EXHAUSTED
    # What was refused is not there, and one that is there already is answered even now.
    assert code_of(node.stub.GetTask, pb.GetTaskRequest(task_id="too-many")) == grpc.StatusCode.NOT_FOUND
    assert node.submit("result = 0", task_id=queued[0]) == queued[0]

    answer = node.stop_task(queued[1])
    assert (answer.task.state, answer.task.reason, answer.task.attempt) == (pb.Task.STOPPED, pb.Task.STOPPED_BY_USER, 0)
    assert answer.task.started_us == 0
    assert node.stub.ExecuteTask(request, timeout=30).success  # there is room again
    node.stop_task(running)
    ended = [node.wait(t)[0] for t in (queued[0], queued[2], "too-many")]
    assert [t.state for t in ended] == [pb.Task.COMPLETED] * 3
    assert [t.started_us for t in ended] == sorted(t.started_us for t in ended)  # first in, first out


def test_at_most_so_many_at_once(make_node, pb):
    node = make_node(max_concurrent_tasks=2).start()
    ids = [node.submit("import time; time.sleep(0.3)") for _ in range(6)]
    tasks = [node.wait(t)[0] for t in ids]
    edges = sorted([(t.started_us, 1) for t in tasks] + [(t.finished_us, -1) for t in tasks])
    running = most = 0
    for _, step in edges:
        running += step
        most = max(most, running)
    assert most == 2


def test_log_limit(make_node, pb):
    node = make_node(max_log_size="64K").start()
    task, result = node.run("import sys\nsys.stdout.write('x' * 1000000)\nresult = 'done'")
    assert task.state == pb.Task.COMPLETED
    assert task.log_truncated
    assert 0 < task.log_size <= 64 * 1024
    assert len(node.output(task.task_id)) == task.log_size


def test_result_limit_is_a_setting(make_node, pb):
    node = make_node(max_result_size="1K").start()
    assert node.run("result = 'x' * 1000")[0].state == pb.Task.COMPLETED
    assert node.run("result = 'x' * 2000")[0].reason == pb.Task.OUTPUT_LIMIT
    task, result = node.run("seq 1000", task_type="shell")
    assert len(result) <= 1024 and result.endswith(b"999\n1000\n")


def test_fork_bomb_is_contained(node, pb):
    task, _ = node.run("import os\nwhile True:\n try: os.fork()\n except OSError: pass", timeout_ms=1500)
    assert task.state == pb.Task.FAILED
    assert node.run("result = 1")[1] == b"1"
