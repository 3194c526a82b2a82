# SPDX-License-Identifier: Apache-2.0
"""Functions of the node's operator, called by name: RPCService.CallFunction, hivemind call, tasks of the type "function"."""
import json
import threading

import grpc
import pytest

from harness.node import StartError

FUNCTIONS = '''
import os
from hivemind import function

@function("add")
def add(a, b):
    return a + b

@function
def greet(name="you", *, mark="!"):
    print("greeting", name)
    return f"hello {name}{mark}"

@function()
def fail(text):
    raise ValueError(text)

@function("sleep")
def sleep_for(seconds):
    import time
    print("asleep", flush=True)
    time.sleep(float(seconds))
    return "slept"

@function("where")
def where():
    return [os.getpid(), os.getcwd(), os.getuid(), seen]

seen = []

@function("remember")
def remember(what):
    seen.append(what)
    return seen

@function("odd")
def odd():
    return {1, 2}

@function("nested")
def nested():
    try:
        fail("inner")
    except ValueError:
        raise KeyError("outer")

@function("echo")
def echo(*args, **kwargs):
    return [*args, kwargs] if kwargs or len(args) != 1 else args[0]

@function("infinite")
def infinite(x):
    return x == float("inf")
'''

MODES = {"warm": {}, "cold": {"python_warm": "off"}}


@pytest.fixture(scope="module", params=MODES)
def functions(request, programs_for_all, stubs, folder):
    from conftest import Maker
    path = folder / f"functions-{request.param}.py"
    path.write_text(FUNCTIONS)
    maker = Maker(programs_for_all, stubs, folder)
    node = maker(functions=path, max_concurrent_tasks=4, **MODES[request.param])
    yield node.start()
    maker.close()


def call(node, name, *args, seconds=60, **fields):
    stub = node.stubs.grpc.RPCServiceStub(node.channel)
    return stub.CallFunction(node.stubs.pb.CallFunctionRequest(function_name=name, args=args, **fields), timeout=seconds)


def test_results(functions, pb):
    assert json.loads(call(functions, "add", "1", "2").result) == "12"
    answer = call(functions, "add", "1", "2", json_args=True)
    assert (answer.status, answer.result, answer.error) == (True, "3", "")
    assert json.loads(call(functions, "greet").result) == "hello you!"
    assert json.loads(call(functions, "greet", kwargs={"name": "Ada", "mark": "?"}).result) == "hello Ada?"
    text = "é\u2028'\\\"\n\0".replace("\0", "")
    assert json.loads(call(functions, "add", text, "").result) == text


def test_what_they_raise(functions, pb):
    answer = call(functions, "fail", "of its own")
    assert not answer.status and answer.result == "" and "ValueError: of its own" in answer.error
    frames = [line for line in answer.error.splitlines() if line.startswith("  File ")]
    assert len(frames) == 1 and frames[0].endswith(", in fail") and '    raise ValueError(text)\n' in answer.error, answer.error
    assert functions.output(answer.task_id).decode() == answer.error
    for wanted in (call(functions, "add", "1"), call(functions, "greet", kwargs={"nobody": "x"}), call(functions, "odd")):
        assert not wanted.status and "TypeError" in wanted.error, wanted
    assert "Traceback" not in call(functions, "add", "1").error  # there is no line of the file to show
    nested = call(functions, "nested").error
    assert nested.count("  File ") == 3 and "During handling" in nested and "_call" not in nested, nested
    unknown = call(functions, "nothing")
    assert not unknown.status and "there is no function 'nothing' here" in unknown.error and "add, echo, fail, greet" in unknown.error and unknown.exit_code == 123


def test_each_call_is_a_task(functions, pb):
    answer = call(functions, "greet", "Ada", user_id="u1")
    task = functions.get(answer.task_id)
    assert (task.task_type, task.owner, task.state) == ("function", "u1", pb.Task.COMPLETED)
    assert functions.output(answer.task_id) == b"greeting Ada\n"
    assert pb.Receipt.SECCOMP in task.receipt.layers and pb.Receipt.NETWORK_NAMESPACE in task.receipt.layers


def test_nothing_is_remembered(functions, pb):
    """Each call has the file as it was loaded."""
    for _ in range(3):
        assert json.loads(call(functions, "remember", "x").result) == ["x"]
    _, cwd, _, seen = json.loads(call(functions, "where").result)
    assert (cwd, seen) == ("/workspace", [])


def test_many_at_once(functions, pb):
    answers = [None] * 24

    def one(i):
        answers[i] = call(functions, "add", str(i), "1", json_args=True).result

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(answers))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers == [str(i + 1) for i in range(len(answers))]


def test_the_caller_leaves(functions, pb):
    """Its deadline passes, or it hangs up: nobody could have the result, so the task is stopped."""
    with pytest.raises(grpc.RpcError) as caught:
        call(functions, "sleep", "1000", seconds=1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    stub = functions.stubs.grpc.RPCServiceStub(functions.channel)
    future = stub.CallFunction.future(pb.CallFunctionRequest(function_name="sleep", args=["1000"]), timeout=60)
    listed = pb.ListTasksRequest(states=[pb.Task.RUNNING])
    while not functions.stub.ListTasks(listed, timeout=30).tasks:
        pass
    future.cancel()
    request = pb.ListTasksRequest(task_type="function", page_size=2)
    while True:
        tasks = functions.stub.ListTasks(request, timeout=30).tasks
        if all(t.state == pb.Task.STOPPED for t in tasks):
            break
    assert [t.reason for t in tasks] == [pb.Task.STOPPED_BY_USER] * 2


@pytest.mark.parametrize("fields", [
    {"function_name": ""}, {"function_name": "x" * 257}, {"user_id": "u" * 129}, {"user_id": "a\nb"},
    {"args": ["{"], "json_args": True}, {"kwargs": {"k": "1 2"}, "json_args": True}, {"args": ["[" * 5000], "json_args": True},
])
def test_strange_calls(functions, pb, fields):
    stub = functions.stubs.grpc.RPCServiceStub(functions.channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.CallFunction(pb.CallFunctionRequest(**{"function_name": "add", **fields}), timeout=30)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, caught.value


@pytest.mark.parametrize("data", [b"{", b"[]", b'"add"', b'{"function": 1}', b'{"function": "add", "args": 3}', b"\xff", b"null",
                                  b'{"function": "add", "kwargs": []}', b"'\\x00", b"[" * 100000])
def test_strange_tasks(functions, pb, data):
    """As tasks they can be handed in as they are: what is no call fails, and says so."""
    task, _ = functions.run(data, task_type="function")
    assert (task.state, task.reason, task.exit_code) == (pb.Task.FAILED, pb.Task.EXIT_CODE, 1)
    assert "task_data is no" in task.error, task.error


def test_by_hand(functions, pb):
    done = functions.run_cli("call", "add", "1", "2")
    assert (done.returncode, done.stdout) == (0, b'"12"\n'), done
    assert functions.run_cli("call", "-j", "add", "1", "2").stdout == b"3\n"
    assert functions.run_cli("call", "greet", "-k", "name=Ada", "--kwarg", "mark=?").stdout == b'"hello Ada?"\n'
    failed = functions.run_cli("call", "fail", "so it is")
    assert failed.returncode == 1 and failed.stdout == b"" and b"ValueError: so it is" in failed.stderr
    answer = json.loads(functions.run_cli("call", "--json", "add", "a", "b").stdout)
    assert (answer["status"], answer["result"], answer["error"]) == (True, "ab", "") and answer["task_id"]
    assert functions.run_cli("call", "--timeout", "1s", "sleep", "1000").returncode == 124
    assert functions.run_cli("call", "add", "-k", "novalue").returncode == 2
    assert functions.run_cli("call").returncode == 2
    unknown = functions.run_cli("call", "gret")
    assert unknown.returncode == 123 and b"no function 'gret' here (did you mean 'greet'?), only: add, " in unknown.stderr
    assert functions.run_cli("call", "--json", "Ad").returncode == 123


@pytest.mark.parametrize("text", [
    str(10**30), str(-10**30), r'"a\u0000b"', r'"\ud800"', '"\u200d\U0001f600"', '[{"a":%d}]' % 10**30, "1.5", "null", '""', "[" * 200 + "]" * 200])
def test_json_goes_through(functions, text):
    """Argument and result are JSON already: nothing on the way reads values out of them."""
    assert functions.run_cli("call", "-j", "echo", "--", text).stdout.decode() == text + "\n"
    line = functions.run_cli("call", "--json", "-j", "echo", "--", text).stdout.decode()
    assert line.endswith(f',"result":{text}}}\n') and json.loads(line)["result"] == json.loads(text)
    line = functions.run_cli("call", "--json", "-j", "echo", "--kwarg", f"k={text}").stdout.decode()
    assert line.endswith(f',"result":[{{"k":{text}}}]}}\n'), line
    data = json.dumps({"function": "echo"})[:-1] + f', "args": [{text}]}}'
    line = functions.run_cli("run", "--json", "--type", "function", "-", input=data).stdout.decode()
    assert line.endswith(f',"result":{text}}}\n'), line
    task = json.loads(line)["task"]["task_id"]
    assert functions.run_cli("result", "--json", task).stdout.decode().endswith(f',"result":{text}}}\n')


def test_large_numbers_are_json(functions):
    assert functions.run_cli("call", "-j", "infinite", "1e400").stdout == b"true\n"
    refused = functions.run_cli("call", "-j", "infinite", "NaN")
    assert refused.returncode == 2 and b"argument 1 is no JSON" in refused.stderr


def test_a_node_without_functions(node, pb):
    with pytest.raises(grpc.RpcError) as caught:
        call(node, "add", "1", "2")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "FUNCTIONS" in caught.value.details()


@pytest.mark.parametrize("text, wanted", [
    ("raise RuntimeError('not today')", "line 1: RuntimeError: not today"),
    ("from hivemind import function\n@function('a')\ndef f(): pass\n@function('a')\ndef g(): pass\n", "two functions with the name 'a'"),
    ("def :", "SyntaxError"),
    ("import nothing_like_that", "line 1: ModuleNotFoundError"),
])
def test_a_file_that_cannot_be_loaded(make_node, folder, text, wanted):
    """No sandbox can be made then: the node ends, and names what is wrong, and where."""
    path = folder / "broken.py"
    path.write_text(text)
    node = make_node(functions=path).start()
    assert node.wait_for_end() == 1
    said = [e["message"] for e in node.log_entries() if e["level"] == "error"]
    assert any("FUNCTIONS" in m and wanted in m and "line" in m for m in said), said


@pytest.mark.parametrize("text, wanted", [
    ("import sys; sys.exit(3)", "line 1: SystemExit: 3"),
    ("import os; os._exit(0)", "ended with status 0 while it was being loaded"),
    ("from posix import _exit; _exit(3)", "ended with status 3 while it was being loaded"),
    ("import ctypes; ctypes.CDLL(None).exit(4)", "ended with status 4 while it was being loaded"),
    ("import os; os.abort()", "ended by signal 6 while it was being loaded"),
    ("while True: pass", "was still being loaded after 20 s"),
    ("import threading, time\nthreading.Thread(target=time.sleep, args=(100,)).start()", "left a thread running"),
    ("import threading, time\nthreading.Thread(target=time.sleep, args=(100,), daemon=True).start()", "left a thread running"),
    ("import os, time\nif os.fork() == 0: time.sleep(100)", "left a process running"),
])
def test_a_file_that_does_not_come_back(make_node, folder, text, wanted):
    """Other sandboxes would fare no better: the node ends, and names the setting, the file and what happened."""
    path = folder / "strange.py"
    path.write_text(text)
    node = make_node(functions=path).start()
    assert node.wait_for_end() == 1
    said = [e["message"] for e in node.log_entries() if e["level"] == "error"]
    assert any("FUNCTIONS" in m and wanted in m for m in said), said
    assert any(f'FUNCTIONS is "{path}"' in m for m in said), said


@pytest.mark.parametrize("text", [
    "import os; pid = os.fork()\nif pid == 0: os._exit(3)\nassert os.waitpid(pid, 0)[1] == 3 << 8",
    "import os\nif os.fork() == 0: import sys; sys.exit(1)\nos.wait()",
    "import threading\nt = threading.Thread(target=print); t.start(); t.join()",
    "import subprocess; assert subprocess.run(['/bin/true']).returncode == 0",
    "import os; leave = os._exit",
])
def test_a_file_that_is_fine(make_node, folder, text):
    path = folder / "fine.py"
    path.write_text(text + "\nfrom hivemind import function\n@function\ndef one(): return 1\n")
    node = make_node(functions=path).start()
    assert call(node, "one").result == "1"


@pytest.mark.parametrize("content", [None, b"a = '\0'", b"#" * ((1 << 20) + 1)])
def test_a_file_that_cannot_be_read(make_node, folder, content):
    path = folder / "unreadable.py"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartError) as caught:
        make_node(functions=path).start()
    assert "FUNCTIONS" in str(caught.value)
