# SPDX-License-Identifier: Apache-2.0
"""Who may do what at a real node: roles, owners, tokens, certificates, the first start, and being locked out."""
import json
import os
import pathlib
import select
import subprocess
import time

import grpc
import pytest

from harness.node import CALL_SECONDS, CHANNEL_OPTIONS, StartError
from conftest import Maker
from test_tls import Certificates

ROLES = ["viewer", "submitter", "operator", "admin"]
UNAUTHENTICATED, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND, EXHAUSTED = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED
SLEEP = "print('up', flush=True)\nimport time; time.sleep(1000)"

# Written down once more, so that a slip in the node's own table shows.
LOWEST = {
    "TaskWorkerService": {
        "ExecuteTask": "submitter", "ExecuteBatch": "submitter", "GetTask": "viewer", "WaitTask": "viewer",
        "ListTasks": "viewer", "StopTask": "submitter", "GetResult": "viewer", "StreamLogs": "viewer",
        "RetryTask": "submitter", "ListAttempts": "viewer", "PauseTask": "submitter", "ResumeTask": "submitter",
        "WatchTasks": "viewer", "GetStatus": "viewer", "Shutdown": "operator"},
    "RPCService": {"CallFunction": "submitter"},
    "FileService": {
        "Push": "submitter", "Get": "viewer", "Revise": "submitter", "Synchronous": "submitter", "PushStream": "submitter",
        "ReviseStream": "submitter", "GetStream": "viewer", "FindFile": "viewer", "ListFiles": "viewer",
        "DeleteFile": "submitter", "GetStorage": "viewer", "CollectGarbage": "operator", "CheckFiles": "operator"},
}


class Person:
    """Somebody with a token (or none), and what he calls the node with."""

    def __init__(self, node, token=None, metadata=None):
        self.node, self.token = node, token
        self.metadata = metadata if metadata is not None else [("authorization", f"Bearer {token}")] if token else []
        self.raw = grpc.insecure_channel(node.address, options=CHANNEL_OPTIONS)
        node.channels.append(self.raw)

    def __getattr__(self, name):
        """Any method of any service: person.GetTask(request)."""
        for service in ("TaskWorkerService", "FileService", "RPCService"):
            if name in LOWEST[service]:
                call = getattr(getattr(self.node.stubs.grpc, f"{service}Stub")(self.raw), name)
                return lambda request, timeout=CALL_SECONDS: call(request, timeout=timeout, metadata=self.metadata)
        raise AttributeError(name)

    def code(self, path, *requests):
        """How a call of bytes ends; None: with OK."""
        call = self.raw.stream_stream(path, request_serializer=bytes, response_deserializer=bytes)
        try:
            for _ in call(iter(requests), timeout=CALL_SECONDS, metadata=self.metadata):
                if path.endswith("Health/Watch"):
                    break
        except grpc.RpcError as error:
            return error.code()
        return None

    def submit(self, code, **fields):
        fields.setdefault("task_type", "python")
        return self.ExecuteTask(self.node.stubs.pb.ExecuteTaskRequest(task_data=code.encode(), **fields)).task_id


def tool(node, *commands):
    """Changes the accounts of a node that does not run; returns the tokens it has made."""
    program = node.programs.build / "tests" / "unit" / "access" / "accounts_tool"
    path = node.storage / "accounts" / "accounts.db"
    owner = path.stat().st_uid
    who = {} if owner == os.geteuid() else {"user": owner, "group": owner, "extra_groups": []}
    words = [str(word) for command in commands for word in command]
    done = subprocess.run([tool_for_all(node, program), str(path), *words], capture_output=True, text=True, timeout=60, **who)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def tool_for_all(node, program):
    """Where the node's user can reach it."""
    if program.exists() and all(p.stat().st_mode & 0o001 for p in program.parents):
        return program
    source = pathlib.Path(os.environ.get("HIVEMIND_ACCOUNTS_TOOL", program))
    copy = node.folder.parent / "accounts_tool"
    if not copy.exists():
        copy.write_bytes(source.read_bytes())
        copy.chmod(0o755)
    return copy


@pytest.fixture(scope="session", autouse=True)
def where_the_tool_is(programs):
    os.environ["HIVEMIND_ACCOUNTS_TOOL"] = str(programs.build / "tests" / "unit" / "access" / "accounts_tool")


def with_people(node, *commands):
    """A node that is started with one user of each role, and ann and bob; returns them by name."""
    node.start()
    node.stop()
    users = [("user", role + "1", role) for role in ROLES] + [("user", name, "submitter") for name in ("ann", "bob")]
    names = [user[1] for user in users]
    tokens = tool(node, *users, *[("token", name, role, 0) for _, name, role in users], *commands)
    node.start()
    people = {name: Person(node, token) for name, token in zip(names, tokens)}
    people["nobody"], people["admin"] = Person(node), Person(node, node.token)
    return people, tokens[len(names):]


@pytest.fixture(scope="module")
def secured(programs_for_all, stubs, folder):
    maker = Maker(programs_for_all, stubs, folder)
    functions = folder / "access_functions.py"
    functions.write_text("from hivemind import function\n@function\ndef double(n):\n    return 2 * n\n")
    node = maker(authenticated=True, functions=functions)
    node.people, _ = with_people(node)
    yield node
    maker.close()


@pytest.fixture
def people(secured):
    return secured.people


def refused(call, code, *words):
    with pytest.raises(grpc.RpcError) as caught:
        answer = call()
        if hasattr(answer, "__next__"):
            list(answer)
    assert caught.value.code() == code, caught.value
    for word in words:
        assert word in caught.value.details(), caught.value.details()
    return caught.value


def audit(node):
    lines = []
    for path in sorted((node.storage / "audit").glob("audit-*.jsonl")):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return lines


def wait_for_audit(node, seconds=20, **wanted):
    deadline = time.monotonic() + seconds
    while True:
        found = [r for r in audit(node) if all(r[k] == v for k, v in wanted.items())]
        if found:
            return found
        assert time.monotonic() < deadline, (wanted, audit(node)[-20:])
        select.select([], [], [], 0.05)


# --- roles ---


def every_method(pb):
    for service in pb.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            yield service.name, method.name, f"/{service.full_name}/{method.name}"


def harmless(pb, method):
    """A request that is refused for what it says, or ends at once."""
    requests = {"WatchTasks": pb.WatchTasksRequest(only_past=True), "Shutdown": pb.ShutdownRequest(mode=99)}
    return requests[method].SerializeToString() if method in requests else b""


def test_every_method_with_every_role(secured, people, pb):
    seen = 0
    for service, method, path in every_method(pb):
        if service not in LOWEST:
            continue  # a service with tests of its own
        lowest = ROLES.index(LOWEST[service][method])
        request = harmless(pb, method)
        assert people["nobody"].code(path, request) == UNAUTHENTICATED, path
        for rank, role in enumerate(ROLES):
            code = people[role + "1"].code(path, request)
            assert (code == DENIED) == (rank < lowest), (path, role, code)
            assert code != UNAUTHENTICATED, (path, role)
            seen += 1
    assert seen == 4 * 29
    assert secured.process.poll() is None


def test_what_is_open_and_what_is_not_there(secured, people):
    for name in ("nobody", "viewer1"):
        assert people[name].code("/grpc.health.v1.Health/Check", b"") is None
        assert people[name].code("/grpc.health.v1.Health/Watch", b"") is None
    for version in ("v1", "v1alpha"):
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        assert people["nobody"].code(path, b"") == UNAUTHENTICATED
        assert people["viewer1"].code(path, b"\x3a\x00") is None
    assert people["nobody"].code("/no.Such/Method", b"") == grpc.StatusCode.UNIMPLEMENTED


# --- credentials ---


def test_bad_tokens(make_node, pb):
    node = make_node(authenticated=True).start()
    status = pb.GetStatusRequest()
    good = node.token
    wrong = ("A" if good[10] != "A" else "B").join([good[:10], good[11:]])
    for metadata, words in (
            ([("authorization", "Bearer x")], "not a token"),
            ([("authorization", f"Bearer {wrong}")], "mistyped"),
            ([("authorization", f"Bearer {good}x")], "mistyped"),
            ([("authorization", "Bearer " + "twt_" + "x" * 10_000)], "mistyped"),
            ([("authorization", f"Basic {good}")], "Bearer"),
            ([("authorization", good)], "Bearer"),
            ([("authorization", f"Bearer {good}"), ("authorization", f"Bearer {good}")], "twice"),
            ([("x-token", good)], "send a token")):
        refused(lambda: Person(node, metadata=metadata).GetStatus(status), UNAUTHENTICATED, words)
    for scheme in ("Bearer ", "bearer ", "Bearer   "):
        assert Person(node, metadata=[("authorization", scheme + good)]).GetStatus(status).node_id
    found = wait_for_audit(node, action="access.denied", outcome="denied")
    assert found[0]["object"] == "/taskworker.TaskWorkerService/GetStatus" and found[0]["from"].startswith("127.0.0.1:")
    everything = node.log_path.read_text() + "".join(json.dumps(r) for r in audit(node))
    assert good not in everything and wrong not in everything


def test_many_failures_are_cut_short_and_hold_up_nobody_else(make_node, pb):
    node = make_node(authenticated=True).start()
    nobody, admin = Person(node), Person(node, node.token)
    codes = []
    for _ in range(400):
        codes.append(refused(lambda: nobody.GetStatus(pb.GetStatusRequest()), nobody_code(codes)))
    last = codes[-1]
    assert last.code() == EXHAUSTED
    assert any(key == "grpc-retry-pushback-ms" for key, _ in last.trailing_metadata())
    assert admin.GetStatus(pb.GetStatusRequest()).node_id


class nobody_code:
    """UNAUTHENTICATED at first, RESOURCE_EXHAUSTED from some call on."""

    def __init__(self, before):
        self.before = before

    def __eq__(self, code):
        if code == UNAUTHENTICATED:
            return not self.before or self.before[0].code() == UNAUTHENTICATED
        return code == EXHAUSTED and len(self.before) >= 100


def test_tokens_that_are_good_no_more(make_node, pb):
    node = make_node(authenticated=True)
    people, (short, gone, off) = with_people(
        node, ("token", "ann", "submitter", 1500), ("user", "eve", "admin"), ("token", "eve", "admin", 0),
        ("user", "dan", "viewer"), ("token", "dan", "viewer", 0))
    status = pb.GetStatusRequest()
    node.stop()
    tool(node, ("remove", "eve"), ("disable", "dan"))
    node.start()
    refused(lambda: Person(node, gone).GetStatus(status), UNAUTHENTICATED, "not known here")
    refused(lambda: Person(node, off).GetStatus(status), UNAUTHENTICATED, "disabled")
    deadline, person = time.monotonic() + 30, Person(node, short)
    while True:
        try:
            person.GetStatus(status)
        except grpc.RpcError as error:
            assert error.code() == UNAUTHENTICATED and "expired" in error.details()
            break
        assert time.monotonic() < deadline
    assert Person(node, people["ann"].token).GetStatus(status).node_id


def test_a_stream_ends_with_its_token(make_node, pb):
    node = make_node(authenticated=True)
    _, (short,) = with_people(node, ("token", "ann", "submitter", 6000))
    ann = Person(node, short)
    task = ann.submit(SLEEP)
    calls = [ann.WatchTasks(pb.WatchTasksRequest(), timeout=60), ann.StreamLogs(pb.StreamLogsRequest(task_id=task, follow=True), timeout=60)]
    wait = node.stubs.grpc.TaskWorkerServiceStub(ann.raw).WaitTask.future(
        pb.WaitTaskRequest(task_id=task), timeout=60, metadata=ann.metadata)
    assert next(calls[0]).task_id == task and next(calls[1]).data == b"up\n"
    for call in calls:
        refused(lambda: list(call), UNAUTHENTICATED, "not let in any more")
    refused(wait.result, UNAUTHENTICATED, "not let in any more")
    assert node.get(task).state == pb.Task.RUNNING  # what he had handed in goes on
    node.stop_task(task)


# --- whose ---


def test_tasks_of_others_are_not_there(secured, people, pb):
    ann, bob, op = people["ann"], people["bob"], people["operator1"]
    task = ann.submit(SLEEP, labels={"case": "owners"})
    assert ann.GetTask(pb.GetTaskRequest(task_id=task)).task.owner == "ann"
    calls = {
        "GetTask": pb.GetTaskRequest(task_id=task), "WaitTask": pb.WaitTaskRequest(task_id=task),
        "GetResult": pb.GetResultRequest(task_id=task), "StopTask": pb.StopTaskRequest(task_id=task),
        "PauseTask": pb.PauseTaskRequest(task_id=task), "ResumeTask": pb.ResumeTaskRequest(task_id=task),
        "RetryTask": pb.RetryTaskRequest(task_id=task), "ListAttempts": pb.ListAttemptsRequest(task_id=task),
        "StreamLogs": pb.StreamLogsRequest(task_id=task)}
    for name, request in calls.items():
        hidden = refused(lambda: getattr(bob, name)(request), NOT_FOUND, task)
        request.task_id = "no-such-task"
        missing = refused(lambda: getattr(bob, name)(request), NOT_FOUND)
        assert hidden.details().replace(task, "no-such-task") == missing.details(), name
        request.task_id = task
    # Nor to come after, by itself, in a batch or when it is tried again.
    refused(lambda: bob.submit("1", after=[task]), grpc.StatusCode.INVALID_ARGUMENT, "there is no such task")
    one = pb.ExecuteTaskRequest(task_type="python", task_data=b"1", after=[task])
    refused(lambda: bob.ExecuteBatch(pb.ExecuteBatchRequest(tasks=[one])), grpc.StatusCode.INVALID_ARGUMENT, "there is no such task")
    failed = bob.submit("raise SystemExit(3)")
    bob.WaitTask(pb.WaitTaskRequest(task_id=failed))
    refused(lambda: bob.RetryTask(pb.RetryTaskRequest(task_id=failed, after=[task])), grpc.StatusCode.INVALID_ARGUMENT,
            "there is no such task")
    again = bob.RetryTask(pb.RetryTaskRequest(task_id=failed)).task_id
    assert bob.GetTask(pb.GetTaskRequest(task_id=again)).task.owner == "bob"
    batch = bob.ExecuteBatch(pb.ExecuteBatchRequest(tasks=[pb.ExecuteTaskRequest(task_type="python", task_data=b"1")] * 2))
    assert {bob.GetTask(pb.GetTaskRequest(task_id=i)).task.owner for i in batch.task_ids} == {"bob"}

    def listed(who, **fields):
        return [t.task_id for t in who.ListTasks(pb.ListTasksRequest(labels={"case": "owners"}, **fields)).tasks]
    assert listed(ann) == listed(ann, owner="ann") == listed(op) == listed(op, owner="ann") == [task]
    assert listed(bob) == listed(people["viewer1"]) == []
    refused(lambda: listed(bob, owner="ann"), DENIED, "operator")
    refused(lambda: list(bob.WatchTasks(pb.WatchTasksRequest(owner="ann", only_past=True))), DENIED)

    def watched(who):
        return {e.owner for e in who.WatchTasks(pb.WatchTasksRequest(only_past=True))}
    assert watched(ann) == {"ann"} and watched(bob) == {"bob"} and watched(people["viewer1"]) == set()
    assert watched(op) >= {"ann", "bob"}

    assert op.GetTask(pb.GetTaskRequest(task_id=task)).task.owner == "ann"
    assert op.StopTask(pb.StopTaskRequest(task_id=task)).success
    stopped = wait_for_audit(secured, action="task.stop", outcome="ok", user="operator1")
    assert stopped[-1]["object"] == task and stopped[-1]["token"]
    assert wait_for_audit(secured, action="task.submit", user="ann", object=task, outcome="ok")


def test_files_of_others_are_not_there(secured, people, pb):
    ann, bob, op = people["ann"], people["bob"], people["operator1"]
    file = ann.Push(pb.PushRequest(file_data=b"mine", filename="a.txt")).file_id
    stored = ann.FindFile(pb.FileRequest(filename="a.txt")).file
    assert (stored.user_id, stored.file_id) == ("ann", file)
    for user in ("", "bob"):
        ref = pb.FileRequest(file_id=file, user_id=user)
        refused(lambda: bob.Get(pb.GetRequest(file_id=file, user_id=user)), NOT_FOUND)
        refused(lambda: bob.Revise(pb.ReviseRequest(file_id=file, user_id=user, sha256="0" * 64)), NOT_FOUND)
        refused(lambda: bob.Synchronous(pb.SynchronousRequest(file_id=file)), NOT_FOUND)
        refused(lambda: bob.FindFile(ref), NOT_FOUND)
        refused(lambda: bob.DeleteFile(ref), NOT_FOUND)
        refused(lambda: bob.GetStream(pb.GetStreamRequest(file=ref)), NOT_FOUND)
        header = pb.ReviseStreamRequest.Header(file=ref)
        refused(lambda: bob.ReviseStream(iter([pb.ReviseStreamRequest(header=header)])), NOT_FOUND)
    ref = pb.FileRequest(file_id=file, user_id="ann")
    header = pb.PushStreamRequest.Header(filename="b", user_id="ann")
    for call in (
            lambda: bob.Push(pb.PushRequest(file_data=b"x", filename="b", user_id="ann")),
            lambda: bob.Get(pb.GetRequest(file_id=file, user_id="ann")),
            lambda: bob.Revise(pb.ReviseRequest(file_id=file, user_id="ann")),
            lambda: bob.FindFile(ref), lambda: bob.DeleteFile(ref),
            lambda: bob.GetStream(pb.GetStreamRequest(file=ref)),
            lambda: bob.ReviseStream(iter([pb.ReviseStreamRequest(header=pb.ReviseStreamRequest.Header(file=ref))])),
            lambda: bob.PushStream(iter([pb.PushStreamRequest(header=header)])),
            lambda: bob.ListFiles(pb.ListFilesRequest(user_id="ann")),
            lambda: bob.GetStorage(pb.GetStorageRequest(user_id="ann", one_user=True))):
        refused(call, DENIED, "you are bob")
    assert [f.filename for f in bob.ListFiles(pb.ListFilesRequest(all_users=True)).files] == []
    assert "a.txt" in [f.filename for f in ann.ListFiles(pb.ListFilesRequest(all_users=True)).files]
    assert bob.GetStorage(pb.GetStorageRequest()).files == 0
    assert ann.GetStorage(pb.GetStorageRequest()).files == ann.GetStorage(pb.GetStorageRequest(one_user=True)).files == 1
    assert op.Get(pb.GetRequest(file_id=file, user_id="ann")).file_data == b"mine"
    assert any(f.user_id == "ann" for f in op.ListFiles(pb.ListFilesRequest(all_users=True)).files)
    assert op.GetStorage(pb.GetStorageRequest()).blobs >= 1
    # A task's inputs are its owner's.
    given = pb.TaskInput(file_id=file, path="a.txt")
    code = "result = open('/inputs/a.txt').read()"
    refused(lambda: bob.submit(code, inputs=[given]), NOT_FOUND)
    task = ann.submit(code, inputs=[given])
    assert ann.WaitTask(pb.WaitTaskRequest(task_id=task, include_result=True)).result == b'"mine"'
    assert op.DeleteFile(pb.FileRequest(file_id=file, user_id="ann")) is not None


def test_functions_are_called_in_the_callers_name(secured, people, pb):
    refused(lambda: people["bob"].CallFunction(pb.CallFunctionRequest(function_name="f", user_id="ann")), DENIED)
    answer = people["bob"].CallFunction(pb.CallFunctionRequest(function_name="double", args=["2"], json_args=True))
    assert answer.result == "4"
    assert people["admin"].GetTask(pb.GetTaskRequest(task_id=answer.task_id)).task.owner == "bob"


def test_a_certificate_names_a_user(make_node, folder, pb):
    certs = Certificates(make_node.programs.cli, folder).init()
    node = make_node(authenticated=True, tls_client_ca=certs.path / "ca.crt", tls_client_auth="optional", **certs.settings)
    with_people(node)

    def stub(name):
        cert, key = certs.client(name)
        credentials = grpc.ssl_channel_credentials(certs.read("ca.crt"), key.read_bytes(), cert.read_bytes())
        channel = grpc.secure_channel(node.address, credentials, options=CHANNEL_OPTIONS)
        node.channels.append(channel)
        return node.stubs.grpc.TaskWorkerServiceStub(channel)
    ann = stub("ann")
    request = pb.ExecuteTaskRequest(task_type="python", task_data=b"result = 1")
    task = ann.ExecuteTask(request, timeout=CALL_SECONDS).task_id
    assert ann.GetTask(pb.GetTaskRequest(task_id=task), timeout=CALL_SECONDS).task.owner == "ann"
    refused(lambda: stub("stranger").GetStatus(pb.GetStatusRequest(), timeout=CALL_SECONDS), UNAUTHENTICATED, "certificate")
    refused(lambda: stub("viewer1").ExecuteTask(request, timeout=CALL_SECONDS), DENIED, "viewer")
    # A token goes before the certificate, also when it is a bad one.
    refused(lambda: ann.GetStatus(pb.GetStatusRequest(), timeout=CALL_SECONDS, metadata=[("authorization", "Bearer x")]),
            UNAUTHENTICATED, "not a token")
    shown = ann.GetTask(pb.GetTaskRequest(task_id=task), timeout=CALL_SECONDS,
                        metadata=[("authorization", f"Bearer {node.token}")])
    assert shown.task.owner == "ann"


# --- how often ---


def test_one_user_does_not_use_up_what_another_has(make_node, pb):
    node = make_node(authenticated=True, max_requests_per_user=5, max_submissions_per_user=1)
    people, _ = with_people(node)
    ann, bob = people["ann"], people["bob"]
    for _ in range(4):
        ann.submit("1")
    error = refused(lambda: ann.submit("1"), EXHAUSTED, "ann", "submission")
    wait_ms = int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"])
    assert 0 < wait_ms <= 1001
    with pytest.raises(grpc.RpcError) as caught:
        for _ in range(1000):
            ann.GetStatus(pb.GetStatusRequest())
    assert caught.value.code() == EXHAUSTED
    assert bob.submit("1") and bob.GetStatus(pb.GetStatusRequest())


def test_bytes_are_paid_for_afterwards(make_node, pb):
    node = make_node(authenticated=True, max_bytes_per_user="100K")
    people, _ = with_people(node)
    ann, bob = people["ann"], people["bob"]
    task = ann.submit("x" * 100_000)
    assert ann.submit("# " + "y" * 1_000_000) and task  # more than there is: it is let in, and owed
    error = refused(lambda: ann.GetStatus(pb.GetStatusRequest()), EXHAUSTED, "ann", "too many bytes")
    wait_ms = int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"])
    assert 1000 < wait_ms <= 11_000
    assert bob.GetStatus(pb.GetStatusRequest()) and bob.submit("1")


# --- the first start, and being locked out ---


def test_the_first_token_comes_once(make_node, pb):
    node = make_node(authenticated=True).start()
    file = node.storage / "first-token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert str(file) in node.log() and node.token not in node.log()
    assert node.token.startswith("twt_")
    file.unlink()
    node.stop()
    node.start()
    assert not file.exists() and "first-token" not in node.log()
    assert node.status().node_id
    accounts = node.storage / "accounts" / "accounts.db"
    assert accounts.stat().st_mode & 0o777 == 0o600
    assert node.token.encode() not in accounts.read_bytes()


def test_a_first_token_that_nobody_saw(make_node, pb):
    """The start that was to show it fails, or is killed: the next one makes another, and the former is of no use."""
    node = make_node(authenticated=True)
    blocker = make_node(authenticated=True).start()
    node.settings["grpc_port"] = blocker.port
    with pytest.raises(StartError):
        node.start()
    assert not (node.storage / "first-token").exists()
    node.settings["grpc_port"] = node.port
    for seconds in (0.01, 0.05, 0.1, 0.15, 0.2, 0.3):
        node.start_and_kill(seconds)
    node.start()
    assert node.status().node_id
    assert node.first_token() == node.token


def reset(node, code=0):
    done = subprocess.run([*node.command(), "--reset-admin"], capture_output=True, text=True, timeout=60,
                          env=node.environment(), cwd="/")
    assert done.returncode == code, done.stderr
    return done


def token_in(text):
    found = [word for word in text.split() if word.startswith("twt_")]
    assert len(found) == 1, text
    return found[0]


def test_locked_out(make_node, pb):
    node = make_node(authenticated=True).start()
    assert "another" in reset(node, code=1).stderr or "run" in reset(node, code=1).stderr
    former = node.token
    node.stop()
    tool(node, ("user", "zoe", "admin"), ("disable", "admin"))
    done = reset(node)
    token = token_in(done.stdout)
    assert token not in done.stderr
    node.start()
    assert Person(node, token).GetStatus(pb.GetStatusRequest()).node_id
    assert Person(node, former).GetStatus(pb.GetStatusRequest()).node_id  # that account is enabled again
    assert wait_for_audit(node, action="access.reset_admin", object="admin", outcome="ok")
    node.stop()
    tool(node, ("remove", "admin"))
    done = reset(node)
    assert '"admin-2"' in done.stdout
    node.start()
    assert wait_for_audit(node, action="access.reset_admin", object="admin-2", outcome="ok")
    assert Person(node, token_in(done.stdout)).code("/taskworker.FileService/CollectGarbage", b"") is None
    refused(lambda: Person(node, token).GetStatus(pb.GetStatusRequest()), UNAUTHENTICATED)


# --- the command line ---


def test_the_command_line_says_who_it_is(make_node):
    node = make_node(authenticated=True).start()
    token, node.token = node.token, None
    done = node.run_cli("status")
    assert done.returncode == 125 and b"--token-file" in done.stderr
    assert json.loads(node.run_cli("--json", "status").stderr)["error"]["code"] == "UNAUTHENTICATED"
    assert node.run_cli("--token-file", node.storage / "first-token", "status").returncode == 0
    node.extra_environment["HIVEMIND_TOKEN_FILE"] = str(node.storage / "first-token")
    assert node.run_cli("status").returncode == 0
    node.extra_environment["HIVEMIND_TOKEN"] = "twt_nonsense"
    done = node.run_cli("status")
    assert done.returncode == 125 and b"$HIVEMIND_TOKEN" in done.stderr and b"nonsense" not in done.stderr
    node.extra_environment["HIVEMIND_TOKEN"] = token
    assert node.run_cli("run", "--", "echo", "hello").stdout == b"hello\n"
    del node.extra_environment["HIVEMIND_TOKEN"], node.extra_environment["HIVEMIND_TOKEN_FILE"]
    config = node.folder / "config"
    (config / "hivemind").mkdir(parents=True)
    file = config / "hivemind" / "credentials"
    file.write_text(f"# mine\n127.0.0.1:1 twt_other\n{node.address} {token}\n")
    file.chmod(0o600)
    node.extra_environment["XDG_CONFIG_HOME"] = str(config)
    assert node.run_cli("status").returncode == 0
    file.chmod(0o640)
    done = node.run_cli("status")
    assert done.returncode == 2 and b"chmod 600" in done.stderr


def test_a_token_is_not_sent_in_plain_text(make_node):
    node = make_node(authenticated=True).start()
    node.token = None
    for server in ("192.0.2.1:50053", "127.0.0.1.example.com:50053", "[2001:db8::1]:50053"):
        done = node.run_cli("--server", server, "--token-file", node.storage / "first-token", "status", server=False)
        assert done.returncode == 2 and b"plain text" in done.stderr, done.stderr
    # Where there is none to be sent, nothing is to be said of it.
    done = node.run_cli("--server", "192.0.2.1:50053", "--connect-timeout", "10ms", "status", server=False)
    assert b"plain text" not in done.stderr
