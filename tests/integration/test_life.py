# SPDX-License-Identifier: Apache-2.0
"""What becomes of a task between its admission and its end: attempts, dependencies, batches, pauses, grace, events."""
import json
import os
import signal
import time

import grpc
import pytest

FOR_EVER = "print('up', flush=True)\nimport time\nwhile True: time.sleep(1000)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOR_EVER


def refused(call, code, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value
    for word in words:
        assert word in caught.value.details(), caught.value.details()


def attempts(node, pb, task_id):
    return list(node.stub.ListAttempts(pb.ListAttemptsRequest(task_id=task_id), timeout=30).attempts)


def python(pb, source, **fields):
    return pb.ExecuteTaskRequest(task_type="python", task_data=source.encode(), **fields)


def batch(node, pb, *tasks, **fields):
    return node.stub.ExecuteBatch(pb.ExecuteBatchRequest(tasks=tasks, **fields), timeout=60)


def events(node, pb, count=None, until=None, **fields):
    """The first `count` events, or all up to one that `until` is true of."""
    seen = []
    stream = node.stub.WatchTasks(pb.WatchTasksRequest(**fields), timeout=60)
    for event in stream:
        seen.append(event)
        if len(seen) == count or (until and until(event)):
            break
    stream.cancel()
    return seen


# --- attempts ---


def test_failures_are_tried_again(node, pb):
    task, _ = node.run("print('once', flush=True)\nraise SystemExit(3)", retries=2, retry_delay_ms=1)
    assert (task.state, task.attempt, task.exit_code) == (task.FAILED, 3, 3)
    former = attempts(node, pb, task.task_id)
    assert [a.attempt for a in former] == [1, 2]
    for a in former:
        assert (a.reason, a.exit_code, a.message) == (pb.Task.EXIT_CODE, 3, "ended with exit code 3")
        assert a.started_us <= a.finished_us and a.receipt.layers and a.usage.wall_us > 0
    assert node.output(task.task_id) == b"once\n" * 3


def test_the_delay_is_doubled_and_kept_over_a_crash(make_node, pb):
    node = make_node().start()
    node.submit("raise SystemExit(1)", task_id="again", retries=3, retry_delay_ms=3_600_000)
    events(node, pb, until=lambda e: e.kind == pb.TaskEvent.REQUEUED)
    task = node.get("again")
    assert task.state == task.QUEUED and task.not_before_us > (time.time() + 3000) * 1e6
    assert "ended with exit code 1" in task.message
    node.kill()
    node.start()
    after = node.get("again")
    assert (after.state, after.attempt, after.not_before_us) == (task.QUEUED, 1, task.not_before_us)
    assert [a.exit_code for a in attempts(node, pb, "again")] == [1]
    node.stop_task("again")
    node.stop()


def test_what_will_not_pass_is_not_tried_again(make_node, pb):
    node = make_node(max_result_size="100").start()
    task, _ = node.run("result = 'x' * 1000", retries=3, retry_delay_ms=1)
    assert (task.state, task.reason, task.attempt) == (task.FAILED, pb.Task.OUTPUT_LIMIT, 1)
    assert attempts(node, pb, task.task_id) == []
    node.stop()


def test_dead_letters_and_retry(node, pb):
    task, _ = node.run("import os; result = 7 / int(os.environ['N'])", retries=1, retry_delay_ms=1, env={"N": "0"},
                       labels={"kind": "fragile"})
    dead = node.stub.ListTasks(pb.ListTasksRequest(dead_letters=True, labels={"kind": "fragile"}), timeout=30).tasks
    assert [t.task_id for t in dead] == [task.task_id]
    again = node.stub.RetryTask(pb.RetryTaskRequest(task_id=task.task_id), timeout=30)
    second, _ = node.wait(again.task_id)
    assert second.retry_of == task.task_id and second.labels == {"kind": "fragile"} and second.attempt == 2
    ended, _ = node.run("result = 1")
    refused(lambda: node.stub.RetryTask(pb.RetryTaskRequest(task_id=ended.task_id), timeout=30),
            grpc.StatusCode.FAILED_PRECONDITION, "COMPLETED")
    refused(lambda: node.stub.RetryTask(pb.RetryTaskRequest(task_id="nobody"), timeout=30), grpc.StatusCode.NOT_FOUND)


# --- labels ---


def test_labels(node, pb):
    for n in range(4):
        node.submit("result = 1", task_id=f"l{n}", labels={"color": "blue" if n % 2 else "red", "it": "ü'"})

    def found(**labels):
        page = node.stub.ListTasks(pb.ListTasksRequest(labels=labels), timeout=30)
        return [t.task_id for t in page.tasks]

    assert found(color="blue") == ["l3", "l1"]
    assert found(color="red", it="ü'") == ["l2", "l0"]
    assert found(color="green") == [] and found(color="blue' OR '1'='1") == []
    assert node.get("l1").labels == {"color": "blue", "it": "ü'"}


@pytest.mark.parametrize("labels", [
    {"": "x"}, {"a b": "x"}, {"k" * 64: "x"}, {"k": "v" * 256}, {"k": "a\nb"}, {"hivemind.batch": "mine"},
    {f"k{n}": "" for n in range(33)}])
def test_bad_labels(node, labels):
    refused(lambda: node.submit("result = 1", labels=labels), grpc.StatusCode.INVALID_ARGUMENT, "label")


# --- dependencies ---


def test_after(node, pb):
    node.submit(FOR_EVER, task_id="first", task_type="python")
    node.submit("result = 2", task_id="second", after=["first"])
    node.submit("result = 3", task_id="either", after=["first"], after_any=True)
    node.submit("result = 4", task_id="third", after=["second"])
    waiting = node.get("second")
    assert waiting.state == waiting.QUEUED and waiting.message == "waits for the end of task first"
    assert [(a.task_id, a.state) for a in waiting.after if a.task_id == "first"]
    node.stop_task("first")
    second, _ = node.wait("second")
    third, _ = node.wait("third")
    assert (second.state, second.reason) == (second.FAILED, pb.Task.DEPENDENCY)
    assert (third.state, third.reason) == (third.FAILED, pb.Task.DEPENDENCY)
    assert "first" in second.message and "STOPPED" in second.message
    either, result = node.wait("either")
    assert either.state == either.COMPLETED and result == b"3"


def test_after_a_task_that_has_ended(node):
    node.run("result = 1", task_id="well")
    node.run("raise SystemExit(1)", task_id="badly")
    assert node.run("result = 2", after=["well"])[1] == b"2"
    refused(lambda: node.submit("result = 2", after=["badly"]), grpc.StatusCode.FAILED_PRECONDITION, "badly", "FAILED")
    assert node.run("result = 3", after=["badly"], after_any=True)[1] == b"3"


def test_after_nobody_or_itself(node):
    refused(lambda: node.submit("result = 1", task_id="x", after=["nobody"]), grpc.StatusCode.INVALID_ARGUMENT, "nobody")
    refused(lambda: node.submit("result = 1", task_id="x", after=["x"]), grpc.StatusCode.INVALID_ARGUMENT, "itself")
    refused(lambda: node.get("x"), grpc.StatusCode.NOT_FOUND)


def test_after_over_a_crash(make_node):
    node = make_node(max_concurrent_tasks=1).start()
    node.submit(FOR_EVER, task_id="hold")
    node.wait_for_output("hold", b"up")
    node.submit("result = 1", task_id="first")
    node.submit("result = 2", task_id="second", after=["first", "hold"], after_any=True)
    node.kill()
    node.start()
    second, result = node.wait("second")
    assert second.state == second.COMPLETED and result == b"2"
    assert second.started_us >= node.get("first").finished_us
    node.stop()


# --- batches ---


def test_a_batch(node, pb):
    answer = batch(node, pb, python(pb, "result = 1"), python(pb, "result = 2", task_id="named"),
                   python(pb, "result = 3", after=["b-0", "named"]), batch_id="b")
    assert list(answer.task_ids) == ["b-0", "named", "b-2"] and answer.batch_id == "b"
    assert [node.wait(i)[1] for i in answer.task_ids] == [b"1", b"2", b"3"]
    assert node.get("named").labels == {"hivemind.batch": "b", "hivemind.index": "1"}
    page = node.stub.ListTasks(pb.ListTasksRequest(labels={"hivemind.batch": "b"}), timeout=30)
    assert len(page.tasks) == 3


def test_a_batch_handed_in_twice(node, pb):
    tasks = [python(pb, "print('x')"), python(pb, "print('y')")]
    first = batch(node, pb, *tasks, batch_id="twice")
    for i in first.task_ids:
        node.wait(i)
    assert list(batch(node, pb, *tasks, batch_id="twice").task_ids) == list(first.task_ids)
    assert node.output("twice-0") == b"x\n"


def test_a_batch_again_when_the_queue_is_full(make_node, pb):
    node = make_node(max_queued_tasks="12").start()
    task = python(pb, "result = 1", not_before_us=int((time.time() + 3600) * 1e6))
    first = batch(node, pb, task, array_count=10, batch_id="mine")
    assert list(batch(node, pb, task, array_count=10, batch_id="mine").task_ids) == list(first.task_ids)
    refused(lambda: batch(node, pb, task, array_count=10, batch_id="other"), grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")
    node.stop_task("mine-0")
    node.stop()


def test_named_tasks_are_the_same_batch_again(node, pb):
    tasks = [python(pb, f"result = {n}", task_id=f"named-{n}") for n in range(2)]
    assert batch(node, pb, *tasks) == batch(node, pb, *tasks)
    refused(lambda: batch(node, pb, tasks[0], python(pb, "result = 9", task_id="named-1")), grpc.StatusCode.ALREADY_EXISTS)


def test_a_batch_cannot_grow(node, pb):
    task = python(pb, "result = 1", not_before_us=int((time.time() + 3600) * 1e6))
    first = batch(node, pb, task, array_count=3, batch_id="grows")
    refused(lambda: batch(node, pb, task, array_count=4, batch_id="grows"), grpc.StatusCode.ALREADY_EXISTS, "grows-2", "grows-3")
    refused(lambda: node.get("grows-3"), grpc.StatusCode.NOT_FOUND)
    assert list(batch(node, pb, task, array_count=3, batch_id="grows").task_ids) == list(first.task_ids)
    for i in first.task_ids:
        node.stop_task(i)


def test_the_order_within_a_batch(node, pb):
    """What is wrong with it is said in the words of the batch."""
    one, two = python(pb, "result = 1", task_id="one"), python(pb, "result = 2", task_id="two", after=["one"])
    refused(lambda: batch(node, pb, two, one), grpc.StatusCode.INVALID_ARGUMENT, "task 1 of the batch", "'one'", "task 2")
    refused(lambda: batch(node, pb, one, two, one), grpc.StatusCode.INVALID_ARGUMENT, "task 3 of the batch has the id of task 1")
    refused(lambda: node.get("one"), grpc.StatusCode.NOT_FOUND)


def test_trying_again_what_comes_after_others(node, pb):
    first = node.submit("result = 1/0")
    second = node.submit("result = 2", after=[first])
    assert node.wait(second)[0].reason == pb.Task.DEPENDENCY
    refused(lambda: node.stub.RetryTask(pb.RetryTaskRequest(task_id=second), timeout=30),
            grpc.StatusCode.FAILED_PRECONDITION, first, "after")
    better = node.submit("result = 1", not_before_us=int((time.time() + 3600) * 1e6))
    again = node.stub.RetryTask(pb.RetryTaskRequest(task_id=second, after=[better]), timeout=30).task_id
    assert [a.task_id for a in node.get(again).after] == [better]
    # One that was stopped before its turn waits for the same again.
    node.stop_task(again)
    last = node.stub.RetryTask(pb.RetryTaskRequest(task_id=again), timeout=30).task_id
    assert [a.task_id for a in node.get(last).after] == [better] and node.get(last).retry_of == again
    node.stop_task(better)
    assert node.wait(last)[0].reason == pb.Task.DEPENDENCY


def test_all_of_a_batch_or_none(node, pb):
    node.submit("result = 0", task_id="taken")
    last = node.status().last_event
    good = python(pb, "result = 1")
    for bad, code, words in (
            (python(pb, "result = 1", task_id="taken"), grpc.StatusCode.ALREADY_EXISTS, ["taken"]),
            (python(pb, ""), grpc.StatusCode.INVALID_ARGUMENT, ["task 2 of the batch", "empty"]),
            (python(pb, "x", after=["all-2"]), grpc.StatusCode.INVALID_ARGUMENT, ["all-2"]),
            (python(pb, "x", timeout_ms=-1), grpc.StatusCode.INVALID_ARGUMENT, ["task 2 of the batch", "timeout_ms"])):
        refused(lambda bad=bad: batch(node, pb, good, bad, good, batch_id="all"), code, *words)
        refused(lambda: node.get("all-0"), grpc.StatusCode.NOT_FOUND)
    refused(lambda: batch(node, pb), grpc.StatusCode.INVALID_ARGUMENT, "empty")
    node.wait("taken")
    seen = events(node, pb, after=last, until=lambda e: (e.task_id, e.kind) == ("taken", pb.TaskEvent.COMPLETED))
    assert not [e for e in seen if e.task_id.startswith("all-")]


def test_an_array(node, pb):
    answer = batch(node, pb, python(pb, "import os; result = int(os.environ['HIVEMIND_ARRAY_INDEX']) ** 2"),
                   array_count=5, array_first=3)
    assert len(answer.task_ids) == 5
    assert [node.wait(i)[1] for i in answer.task_ids] == [b"9", b"16", b"25", b"36", b"49"]
    refused(lambda: batch(node, pb, python(pb, "1"), python(pb, "2"), array_count=2),
            grpc.StatusCode.INVALID_ARGUMENT, "array")
    refused(lambda: batch(node, pb, python(pb, "1"), array_count=10_001), grpc.StatusCode.INVALID_ARGUMENT, "10000")


# --- pause and resume ---


def test_a_task_that_waits_is_held(make_node, pb):
    node = make_node(max_concurrent_tasks=1).start()
    node.submit(FOR_EVER, task_id="hold")
    node.wait_for_output("hold", b"up")
    node.submit("result = 1", task_id="held")
    assert node.stub.PauseTask(pb.PauseTaskRequest(task_id="held"), timeout=30).task.paused
    node.stop_task("hold")
    assert node.run("result = 2")[1] == b"2"
    held = node.get("held")
    assert held.state == held.QUEUED and held.paused and held.message == "paused on request"
    node.kill()
    node.start()
    assert node.run("result = 3")[1] == b"3"
    assert node.get("held").state == pb.Task.QUEUED
    node.stub.ResumeTask(pb.ResumeTaskRequest(task_id="held"), timeout=30)
    assert node.wait("held")[1] == b"1"
    refused(lambda: node.stub.PauseTask(pb.PauseTaskRequest(task_id="held"), timeout=30),
            grpc.StatusCode.FAILED_PRECONDITION, "ended")
    refused(lambda: node.stub.PauseTask(pb.PauseTaskRequest(task_id="nobody"), timeout=30), grpc.StatusCode.NOT_FOUND)
    node.stop()


def test_a_task_that_runs_stands_still(node, pb):
    node.submit("import itertools, time\nfor n in itertools.count():\n    print(f'line {n}.', flush=True)\n    time.sleep(.01)",
                task_id="p", timeout_ms=3_600_000)
    node.wait_for_output("p", b"line 3.")
    node.stub.PauseTask(pb.PauseTaskRequest(task_id="p"), timeout=30)
    paused = node.get("p")
    assert paused.paused and paused.state == paused.RUNNING
    seen = node.output("p").count(b"\n")
    node.stub.ResumeTask(pb.ResumeTaskRequest(task_id="p"), timeout=30)
    node.wait_for_output("p", f"line {seen + 50}.".encode())  # further than what was on its way when it was paused
    assert not node.get("p").paused
    node.stop_task("p")
    kinds = [e.kind for e in events(node, pb, until=lambda e: e.task_id == "p" and e.kind == pb.TaskEvent.STOPPED)
             if e.task_id == "p"]
    k = pb.TaskEvent
    assert kinds == [k.ACCEPTED, k.STARTED, k.PAUSED, k.RESUMED, k.STOPPED]


def test_a_paused_task_is_stopped(node, pb):
    node.submit(FOR_EVER, task_id="still")
    node.wait_for_output("still", b"up")
    node.stub.PauseTask(pb.PauseTaskRequest(task_id="still"), timeout=30)
    assert node.stop_task("still").task.state == pb.Task.STOPPED


# --- ending early ---


def test_a_task_may_clear_up(node, pb):
    source = ("import signal, sys, time\n"
              "def leave(*_):\n    global result\n    print('bye', flush=True)\n    result = 'tidy'\n    raise SystemExit(0)\n"
              "signal.signal(signal.SIGTERM, leave)\n" + FOR_EVER)
    node.submit(source, task_id="polite", grace_ms=3_600_000)
    node.wait_for_output("polite", b"up")
    task = node.stop_task("polite").task
    assert (task.state, task.reason) == (pb.Task.STOPPED, pb.Task.STOPPED_BY_USER)
    assert b"bye" in node.output("polite")


def test_a_task_that_ignores_it_is_killed(node, pb):
    node.submit(STUBBORN, task_id="stubborn", grace_ms=1)
    node.wait_for_output("stubborn", b"up")
    assert node.stop_task("stubborn").task.state == pb.Task.STOPPED


# --- events ---


def test_events_are_resumable(make_node, pb):
    node = make_node().start()
    node.run("result = 1", task_id="a")
    first = events(node, pb, count=3)
    k = pb.TaskEvent
    assert [(e.task_id, e.kind) for e in first] == [("a", k.ACCEPTED), ("a", k.STARTED), ("a", k.COMPLETED)]
    assert [e.number for e in first] == sorted(e.number for e in first)
    node.kill()
    node.start()
    node.run("raise SystemExit(4)", task_id="b", labels={"x": "y"})
    rest = events(node, pb, count=3, after=first[-1].number)
    assert [(e.task_id, e.kind) for e in rest] == [("b", k.ACCEPTED), ("b", k.STARTED), ("b", k.FAILED)]
    assert rest[-1].reason == pb.Task.EXIT_CODE and rest[-1].attempt == 1
    assert events(node, pb, count=1, labels={"x": "y"})[0].task_id == "b"
    assert events(node, pb, count=6)[3:] == rest
    refused(lambda: events(node, pb, count=1, after=10_000), grpc.StatusCode.OUT_OF_RANGE, "10000")
    node.stop()


def test_events_as_they_happen(node, pb):
    node.run("result = 1", task_id="old")
    stream = node.stub.WatchTasks(pb.WatchTasksRequest(after=node.status().last_event), timeout=60)
    node.run("result = 1", task_id="new")
    k = pb.TaskEvent
    assert [next(stream).kind for _ in range(3)] == [k.ACCEPTED, k.STARTED, k.COMPLETED]
    stream.cancel()


def test_events_that_are_gone_from_between(make_node, pb):
    node = make_node(max_kept_tasks="3").start()
    node.submit("result = 1", task_id="first", not_before_us=int((time.time() + 3600) * 1e6))
    for n in range(6):
        node.run("result = 1", task_id=f"t{n}")
    known = events(node, pb, count=1)[0].number
    node.stop()
    node.start()  # each start looks
    deadline = time.monotonic() + 60
    with pytest.raises(grpc.RpcError):
        while time.monotonic() < deadline:
            node.get("t3")
    refused(lambda: events(node, pb, after=known, only_past=True), grpc.StatusCode.OUT_OF_RANGE, "removed", "up to")
    kept = events(node, pb, only_past=True)
    assert [kept[0].task_id, kept[-1].task_id] == ["first", "t5"] and "t3" not in {e.task_id for e in kept}
    assert events(node, pb, after=kept[-2].number, only_past=True) == kept[-1:]
    node.stop()


def test_only_new_events(node, pb):
    node.run("result = 1", task_id="before")
    stream = node.stub.WatchTasks(pb.WatchTasksRequest(only_new=True), timeout=60)
    stream.initial_metadata()  # comes before the first event: from here on all of them are seen
    node.run("result = 1", task_id="behind")
    k = pb.TaskEvent
    seen = [next(stream) for _ in range(3)]
    stream.cancel()
    assert [(e.task_id, e.kind) for e in seen] == [("behind", k.ACCEPTED), ("behind", k.STARTED), ("behind", k.COMPLETED)]


def test_a_watcher_does_not_hold_up_the_end(make_node, pb):
    node = make_node().start()
    stream = node.stub.WatchTasks(pb.WatchTasksRequest(), timeout=600)
    node.run("result = 1")
    next(stream)
    node.signal(signal.SIGTERM)
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    node.stop()


# --- bounds ---


def test_one_owner_cannot_fill_the_queue(make_node, pb):
    node = make_node(max_concurrent_tasks=1, max_queued_per_owner=2).start()
    node.submit(FOR_EVER, task_id="hold")
    node.wait_for_output("hold", b"up")
    for n in range(2):
        node.submit("result = 1", task_id=f"q{n}", not_before_us=int((time.time() + 3600) * 1e6))
    refused(lambda: node.submit("result = 1"), grpc.StatusCode.RESOURCE_EXHAUSTED, "MAX_QUEUED_PER_OWNER")
    for name in ("q0", "q1", "hold"):
        node.stop_task(name)
    node.stop()


def test_sleepers_count(make_node):
    node = make_node(max_concurrent_tasks=4, max_queued_tasks=2).start()
    when = int((time.time() + 3600) * 1e6)
    node.submit("result = 1", task_id="s0", not_before_us=when)
    node.submit("result = 1", task_id="s1", not_before_us=when)
    refused(lambda: [node.submit("result = 1", not_before_us=when) for _ in range(8)],
            grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full")
    node.stop()


# --- resources ---


def test_what_is_asked_for_is_set_aside(make_node, pb):
    node = make_node(max_concurrent_tasks=4, max_cpu_cores="2", max_memory_gb=1).start()
    node.submit(FOR_EVER, task_id="one", limits=pb.Limits(cpu_millis=1500))
    node.wait_for_output("one", b"up")
    node.submit("result = 2", task_id="two", limits=pb.Limits(cpu_millis=600))
    waiting = node.get("two")
    assert waiting.state == waiting.QUEUED
    assert waiting.message == "waits for 0.6 processors, of which 0.5 are free"
    assert node.run("result = 3", limits=pb.Limits(cpu_millis=500))[1] == b"3"  # a smaller one goes before it
    status = node.status()
    assert (status.cpu_millis, status.cpu_millis_allocated) == (2000, 1500)
    assert status.memory_bytes == 1 << 30 and status.memory_bytes_allocated == 256 << 20
    assert score_of(node) > 0
    node.stop_task("one")
    assert node.wait("two")[1] == b"2"
    after = node.status()
    assert (after.cpu_millis_allocated, after.memory_bytes_allocated) == (0, 0)
    node.stop()


def test_more_than_there_is_is_refused_at_once(make_node, pb):
    node = make_node(max_cpu_cores="2", max_memory_gb=1).start()
    refused(lambda: node.submit("1", limits=pb.Limits(cpu_millis=2001)), grpc.StatusCode.INVALID_ARGUMENT, "MAX_CPU_CORES")
    refused(lambda: node.submit("1", limits=pb.Limits(memory_bytes=(1 << 30) + 1)), grpc.StatusCode.INVALID_ARGUMENT,
            "MAX_MEMORY_GB")
    assert node.run("result = 1", limits=pb.Limits(cpu_millis=2000, memory_bytes=1 << 30))[1] == b"1"
    node.stop()


def test_the_disk(node):
    status, of = node.status(), os.statvfs(node.storage)
    assert status.disk_bytes == of.f_blocks * of.f_frsize and 0 < status.disk_free_bytes <= status.disk_bytes
    assert b"\ndisk       " in node.run_cli("status").stdout


def score_of(node):
    """It is measured beside the node's work: soon, but not at once."""
    deadline = time.monotonic() + 60
    while not (score := node.status().cpu_score):
        assert time.monotonic() < deadline
    return score


def test_the_score_is_measured_once(make_node):
    node = make_node().start()
    score = score_of(node)
    node.stop()
    node.start()
    assert node.status().cpu_score == score
    node.stop()


# --- retention ---


def test_old_tasks_go(make_node, pb):
    node = make_node(retention="1ms").start()
    node.run("print('x')\nresult = 1", task_id="old")
    node.stop()
    node.start()  # each start looks
    deadline = time.monotonic() + 60
    with pytest.raises(grpc.RpcError) as caught:
        while time.monotonic() < deadline:
            node.get("old")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    node.stop()


# --- the command line ---


def test_the_command_line(make_node, tmp_path):
    node = make_node().start()
    script = tmp_path / "a.py"
    script.write_text("import os, sys\nsys.exit(os.environ['HIVEMIND_ARRAY_INDEX'] == '2')")

    def cli(*arguments, code=0):
        done = node.run_cli(*arguments)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout.decode()

    ids = cli("submit", "--array", "1-3", "--batch", "b", "--label", "project=maps", "--retries", "1", "--retry-delay",
              "1ms", script).split()
    assert ids == ["b-1", "b-2", "b-3"]
    ended = cli("wait", "--label", "hivemind.batch=b", code=1).splitlines()
    assert ended == ["b-1 COMPLETED", "b-2 FAILED exit_code", "b-3 COMPLETED"]
    shown = json.loads(cli("show", "--json", "b-2"))
    assert shown["labels"] == {"project": "maps", "hivemind.batch": "b", "hivemind.index": "2"}
    assert [a["exit_code"] for a in shown["attempts"]] == [1]
    assert "before        1: exit_code" in cli("show", "b-2")
    assert [json.loads(line)["task_id"] for line in cli("ps", "--dead", "--json").splitlines()] == ["b-2"]
    assert len(cli("ps", "-a", "--label", "project=maps", "--json").splitlines()) == 3
    kinds = [line.split()[2] for line in cli("events", "b-2").splitlines()]
    assert kinds == ["accepted", "started", "requeued", "started", "failed"]
    again = cli("retry", "--dead", "--label", "project=maps").strip()
    cli("wait", again, code=1)
    assert json.loads(cli("show", "--json", again))["retry_of"] == "b-2"
    third = cli("retry", "--dead", "--label", "project=maps").strip()  # b-2 has been tried again
    cli("wait", third, code=1)
    assert json.loads(cli("show", "--json", third))["retry_of"] == again
    script.write_text(FOR_EVER)
    cli("submit", "--id", "long", "--label", "a=b", script)
    cli("submit", "--id", "next", "--after", "long", "--after-any", "--grace", "1s", script)
    assert cli("pause", "next") == "next QUEUED paused\n"
    assert "long" in cli("top") and "paused on request" in cli("top")
    assert "paused" in cli("show", "next")
    assert cli("resume", "next") == "next QUEUED\n"
    assert cli("stop", "--label", "a=b") == "long STOPPED\n"
    assert cli("stop", "next") == "next STOPPED\n"
    for bad in (("submit", "--array", "0", script), ("submit", "--array", "5-3", script), ("submit", "--batch", "x", script),
                ("submit", "--label", "x", script), ("submit", "--after-any", script), ("wait",), ("wait", "--label", "a=b", "x"),
                ("retry",), ("stop", "--label", "a=b", "--all"), ("ps", "--since", "gestern"), ("top", "--json")):
        cli(*bad, code=2)
    node.stop()
