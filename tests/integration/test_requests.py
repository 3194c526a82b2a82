# SPDX-License-Identifier: Apache-2.0
"""Requests that are wrong in themselves, and what is answered to each."""
import threading

import grpc
import pytest

UNKNOWN_ID = "no-such-task"


def refused(call, request, code, *words, **options):
    """The call ends with this status, and a message that has these words."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60, **options)
    assert caught.value.code() == code, caught.value.details()
    for word in words:
        assert word.lower() in caught.value.details().lower()
    return caught.value


def execute(pb, **fields):
    fields.setdefault("task_type", "python")
    fields.setdefault("task_data", b"result = 1")
    return pb.ExecuteTaskRequest(**fields)


def test_an_id_is_made_when_none_is_given(node, pb):
    first = node.stub.ExecuteTask(execute(pb), timeout=30)
    second = node.stub.ExecuteTask(execute(pb), timeout=30)
    assert first.success and first.task_id and first.task_id != second.task_id
    assert first.state == pb.Task.QUEUED


def test_same_id_same_content_same_answer(node, pb):
    request = execute(pb, task_id="same", args=["a"], env={"X": "1", "Y": "2"}, timeout_ms=5000)
    first = node.stub.ExecuteTask(request, timeout=30)
    again = node.stub.ExecuteTask(request, timeout=30)
    assert first.success and again.success and again.task_id == "same"
    task, _ = node.wait("same")
    assert task.attempt == 1
    after = node.stub.ExecuteTask(request, timeout=30)
    assert after.success and after.state == pb.Task.COMPLETED
    assert node.get_bare("same") == task  # it did not run again


@pytest.mark.parametrize("change", [
    {"task_data": b"result = 2"}, {"task_type": "shell"}, {"args": ["b"]}, {"args": []}, {"env": {"X": "2"}},
    {"timeout_ms": 6000}, {"retries": 1}])
def test_same_id_other_content_is_refused(node, pb, change):
    fields = {"task_id": "mine", "args": ["a"], "env": {"X": "1"}, "timeout_ms": 5000}
    node.stub.ExecuteTask(execute(pb, **fields), timeout=30)
    refused(node.stub.ExecuteTask, execute(pb, **{**fields, **change}), grpc.StatusCode.ALREADY_EXISTS, "mine")


def test_same_id_from_many_threads_runs_once(node, pb):
    answers = []
    request = execute(pb, task_id="raced", task_data=b"print('ran')")

    def send():
        answers.append(node.stub.ExecuteTask(request, timeout=60))
    threads = [threading.Thread(target=send) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(answers) == 20 and all(a.success for a in answers)
    node.wait("raced")
    assert node.output("raced") == b"ran\n"


def test_empty_data(node, pb):
    refused(node.stub.ExecuteTask, execute(pb, task_data=b""), grpc.StatusCode.INVALID_ARGUMENT, "task_data")


@pytest.mark.parametrize("kind", ["", "perl", "Python", "python ", "x" * 1000, "a\nb"])
def test_unknown_type(node, pb, kind):
    error = refused(node.stub.ExecuteTask, execute(pb, task_type=kind), grpc.StatusCode.INVALID_ARGUMENT, "task_type")
    assert "\n" not in error.details()


@pytest.mark.parametrize("task_id", [
    "a/b", "../x", ".", "..", ".hidden", "-rf", "a\\b", "a b", "a\tb", "a\nb", "a\x00b", "a\x7fb", "\u0085", "a\u2028b", "\u200b",
    "\u202eabc", "\ufeffabc", "\u00a0x", "\u3000x", "x" * 129, "ü" * 65])
def test_bad_id(node, pb, task_id):
    refused(node.stub.ExecuteTask, execute(pb, task_id=task_id), grpc.StatusCode.INVALID_ARGUMENT, "task", "id")


@pytest.mark.parametrize("task_id", ["x" * 128, "ü" * 64, "a.b-c_d:e@f", "任務", "🐝", "%2F", "'; DROP TABLE tasks; --".replace(" ", "")])
def test_good_id(node, pb, task_id):
    assert node.submit("result = 1", task_id=task_id) == task_id
    task, _ = node.wait(task_id)
    assert task.task_id == task_id and task.state == pb.Task.COMPLETED


@pytest.mark.parametrize("timeout", [-1, -2**63])
def test_negative_timeout(node, pb, timeout):
    refused(node.stub.ExecuteTask, execute(pb, timeout_ms=timeout), grpc.StatusCode.INVALID_ARGUMENT, "timeout_ms")


def test_timeout_beyond_all_time(node, pb):
    """Accepted or refused, but never wrapped round to a short one."""
    try:
        task, _ = node.run("result = 1", timeout_ms=2**63 - 1)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    else:
        assert task.state == pb.Task.COMPLETED


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A\0B": "x"}, {"A": "x\0y"}])
def test_bad_environment(node, pb, env):
    refused(node.stub.ExecuteTask, execute(pb, env=env), grpc.StatusCode.INVALID_ARGUMENT, "env")


def test_bad_arguments(node, pb):
    refused(node.stub.ExecuteTask, execute(pb, args=["a\0b"]), grpc.StatusCode.INVALID_ARGUMENT, "arg")


def test_more_arguments_than_a_program_can_take(node, pb):
    """Refused at the door or a failure that says so; never a node that is stuck."""
    try:
        task, _ = node.run("import sys; result = len(sys.argv)", args=["x" * 1000] * 5000)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error.details()
    else:
        assert task.state == pb.Task.FAILED or task.result_size > 0


def test_no_utf8_in_python_source(node, pb):
    try:
        task, _ = node.run(b"result = '\xff'")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    else:
        assert task.state == pb.Task.FAILED


def test_unknown_fields_are_ignored(node, pb):
    """A client of a later version still gets its task run (proto3's rule)."""
    raw = execute(pb, task_id="later").SerializeToString() + bytes([0xfa, 0x3f, 3]) + b"new" + bytes([0xf0, 0x3f, 1])
    call = node.channel.unary_unary("/taskworker.TaskWorkerService/ExecuteTask",
                                    response_deserializer=pb.ExecuteTaskResponse.FromString)
    assert call(raw, timeout=30).success
    assert node.wait("later")[0].state == pb.Task.COMPLETED


RAW_BAD = {
    "garbage": b"\xff\xff\xff\xff", "cut": b"\x0a\x10abc", "endless varint": b"\x20" + b"\xff" * 11, "field zero": b"\x00\x00",
    "id is no utf-8": b"\x0a\x02\xff\xfe\x12\x06python\x1a\x01x", "type is no utf-8": b"\x12\x02\xc3\x28\x1a\x01x",
    "arg is no utf-8": b"\x12\x06python\x1a\x01x\x2a\x01\xff",
    "env is no utf-8": b"\x12\x06python\x1a\x01x\x32\x06\x0a\x01\xff\x12\x01x"}


@pytest.mark.parametrize("name", RAW_BAD)
def test_bytes_that_are_no_message(node, name):
    call = node.channel.unary_unary("/taskworker.TaskWorkerService/ExecuteTask")
    error = refused(call, RAW_BAD[name], grpc.StatusCode.INVALID_ARGUMENT)
    assert error.details()


@pytest.mark.parametrize("method", ["GetTask", "WaitTask", "StopTask", "GetResult", "StreamLogs"])
@pytest.mark.parametrize("task_id, code", [(UNKNOWN_ID, grpc.StatusCode.NOT_FOUND), ("", grpc.StatusCode.INVALID_ARGUMENT),
                                          ("a/b", None)])
def test_unknown_task(node, pb, method, task_id, code):
    request = getattr(pb, method + "Request")(task_id=task_id)
    with pytest.raises(grpc.RpcError) as caught:
        answer = getattr(node.stub, method)(request, timeout=30)
        list(answer)  # of a stream; a unary answer would be no error, and not iterable
    allowed = [code] if code else [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT]
    assert caught.value.code() in allowed
    if task_id == UNKNOWN_ID:
        assert UNKNOWN_ID in caught.value.details()


def test_unknown_methods_and_services(node):
    for path in ("/taskworker.TaskWorkerService/NoSuchMethod", "/no.such.Service/Method", "/", "//"):
        refused(node.channel.unary_unary(path), b"", grpc.StatusCode.UNIMPLEMENTED)


def test_messages_survive_the_wire(node, pb):
    """Status messages are percent-encoded on the wire; the client sees the text."""
    error = refused(node.stub.GetTask, pb.GetTaskRequest(task_id="100%-grüße-🐝"), grpc.StatusCode.NOT_FOUND)
    assert "100%-grüße-🐝" in error.details()


def test_result_of_a_task_that_runs(node, pb):
    task_id = node.submit("print('up', flush=True)\nimport time; time.sleep(1000)")
    node.wait_for_output(task_id, b"up")
    refused(node.stub.GetResult, pb.GetResultRequest(task_id=task_id), grpc.StatusCode.FAILED_PRECONDITION, task_id)
    node.stop_task(task_id)


def test_deadline_of_the_call(node, pb):
    task_id = node.submit("import time; time.sleep(1000)")
    with pytest.raises(grpc.RpcError) as caught:
        node.stub.WaitTask(pb.WaitTaskRequest(task_id=task_id), timeout=0.3)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    refused(node.stub.WaitTask, pb.WaitTaskRequest(task_id=task_id, timeout_ms=200), grpc.StatusCode.DEADLINE_EXCEEDED)
    refused(node.stub.WaitTask, pb.WaitTaskRequest(task_id=task_id, timeout_ms=-1), grpc.StatusCode.INVALID_ARGUMENT)
    node.stop_task(task_id)


def test_gzip_requests(node, pb):
    data = b"result = len('" + b"x" * 1_000_000 + b"')"
    request = execute(pb, task_id="zipped", task_data=data)
    assert node.stub.ExecuteTask(request, timeout=60, compression=grpc.Compression.Gzip).success
    assert node.wait("zipped")[1] == b"1000000"


def test_gzip_does_not_get_around_the_limit(node, pb):
    """100 kB on the wire, 101 MB unpacked."""
    request = execute(pb, task_id="bomb", task_data=b"#" * (101 * 1024 * 1024))
    refused(node.stub.ExecuteTask, request, grpc.StatusCode.RESOURCE_EXHAUSTED, compression=grpc.Compression.Gzip)
    assert node.status().state == 1


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_100_mb(node, pb, compression):
    size = 100 * 1024 * 1024
    data = b"result = 1\n#"
    data += b"x" * (size - len(data))
    task_id = f"large-{compression.value}"
    request = execute(pb, task_id=task_id, task_data=data)
    assert node.stub.ExecuteTask(request, timeout=120, compression=compression).success
    task, result = node.wait(task_id, seconds=120)
    assert task.state == pb.Task.COMPLETED, task.message
    assert result == b"1"


def test_more_than_the_task_size(node, pb):
    """MAX_TASK_SIZE is 100 MiB; the message around it may be a little larger, the data may not."""
    request = execute(pb, task_data=b"#" * (100 * 1024 * 1024 + 1))
    error = refused(node.stub.ExecuteTask, request, grpc.StatusCode.INVALID_ARGUMENT)
    assert "task_data" in error.details() or "MAX_TASK_SIZE" in error.details()
    refused(node.stub.ExecuteTask, execute(pb, task_data=b"#" * (120 * 1024 * 1024)), grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert node.run("result = 1")[1] == b"1"


def test_a_smaller_task_size_holds(make_node, pb):
    node = make_node(max_task_size="1K").start()
    assert node.run(b"result = 1 #" + b"x" * 1000)[1] == b"1"
    refused(node.stub.ExecuteTask, execute(pb, task_data=b"#" * 1025), grpc.StatusCode.INVALID_ARGUMENT, "1024")
