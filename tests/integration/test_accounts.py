# SPDX-License-Identifier: Apache-2.0
"""Users, tokens, logging in and the audit log at a real node, over gRPC and by the command line."""
import json
import os
import pty
import select
import signal
import subprocess
import threading
import time

import grpc
import pytest

from harness.node import CALL_SECONDS
from test_access import DENIED, EXHAUSTED, NOT_FOUND, ROLES, SLEEP, UNAUTHENTICATED, Person, audit, refused, wait_for_audit

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION

# Written down once more, so that a slip in the node's own table shows. None: open to all.
LOWEST = {
    "WhoAmI": "viewer", "Login": None, "AddUser": "admin", "RemoveUser": "admin", "SetUser": "admin", "ListUsers": "admin",
    "SetPassword": "viewer", "AddToken": "viewer", "RevokeToken": "viewer", "ListTokens": "viewer", "QueryAudit": "admin",
    "VerifyAudit": "admin"}


class Accounts(Person):
    """Somebody who calls AccountService."""

    def __getattr__(self, name):
        if name not in LOWEST:
            return super().__getattr__(name)
        call = getattr(self.node.stubs.grpc.AccountServiceStub(self.raw), name)
        return lambda request, timeout=CALL_SECONDS: call(request, timeout=timeout, metadata=self.metadata)

    def add_user(self, pb, name, role="submitter", password=None):
        """A user with a token; returns who calls by it."""
        self.AddUser(pb.AddUserRequest(name=name, role=pb.User.Role.Value(role.upper())))
        if password:
            self.SetPassword(pb.SetPasswordRequest(user=name, new_password=password))
        return Accounts(self.node, self.AddToken(pb.AddTokenRequest(user=name, token_name="first")).secret)


class Shell:
    """The command line of one person, with a home folder and no token in the environment."""

    def __init__(self, node, folder, name):
        self.node, self.home = node, folder / f"{node.folder.name}-{name}"
        self.home.mkdir()

    def environment(self, **more):
        environment = {k: v for k, v in self.node.environment().items() if not k.startswith(("HIVEMIND_", "XDG_"))}
        return {**environment, "HOME": str(self.home), **more}

    def __call__(self, *arguments, input=b"", code=0, **more):
        done = subprocess.run([self.node.programs.cli, "--server", self.node.address, *arguments], input=input,
                              capture_output=True, timeout=60, env=self.environment(**more))
        assert done.returncode == code, (arguments, done)
        return done

    def json(self, *arguments, **more):
        return [json.loads(line) for line in self(*arguments, "--json", **more).stdout.splitlines()]

    def file(self, name, text):
        path = self.home / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    @property
    def credentials(self):
        return self.home / ".config" / "hivemind" / "credentials"


@pytest.fixture
def guarded(make_node):
    node = make_node(authenticated=True).start()
    node.admin = Accounts(node, node.token)
    return node


@pytest.fixture
def shell(guarded, folder):
    """Logged in as the administrator, by the first token."""
    shell = Shell(guarded, folder, "admin")
    shell("login", "--token", input=guarded.token.encode())
    return shell


# --- over gRPC ---


def test_every_method_with_every_role(guarded, pb):
    people = {role: guarded.admin.add_user(pb, role + "1", role) for role in ROLES}
    methods = pb.DESCRIPTOR.services_by_name["AccountService"].methods
    assert {m.name for m in methods} == set(LOWEST)
    for method in methods:
        path, lowest = f"/taskworker.AccountService/{method.name}", LOWEST[method.name]
        nobody = Accounts(guarded).code(path, b"")
        assert (nobody == UNAUTHENTICATED) == (lowest is not None), (path, nobody)
        for rank, role in enumerate(ROLES):
            code = people[role].code(path, b"")
            assert (code == DENIED) == (lowest is not None and rank < ROLES.index(lowest)), (path, role, code)
            assert code != UNAUTHENTICATED, (path, role)


def test_tokens_bound_each_other(guarded, pb):
    ann = guarded.admin.add_user(pb, "ann", "operator")
    low = Accounts(guarded, ann.AddToken(pb.AddTokenRequest(token_name="low", role=pb.User.VIEWER)).secret)
    refused(lambda: low.AddToken(pb.AddTokenRequest(token_name="high", role=pb.User.OPERATOR)), DENIED, "no more than")
    refused(lambda: ann.AddToken(pb.AddTokenRequest(user="admin", token_name="x")), DENIED, "admin")
    refused(lambda: low.submit("1"), DENIED)
    me = low.WhoAmI(pb.WhoAmIRequest())
    assert (me.user.name, me.user.role, me.role, me.token.name) == ("ann", pb.User.OPERATOR, pb.User.VIEWER, "low")
    tokens = {t.name: t for t in ann.ListTokens(pb.ListTokensRequest()).tokens}
    assert set(tokens) == {"first", "low"}
    refused(lambda: low.RevokeToken(pb.RevokeTokenRequest(token_id=tokens["first"].token_id)), DENIED, "can do more")
    ann.RevokeToken(pb.RevokeTokenRequest(token_id=tokens["low"].token_id))
    refused(lambda: low.WhoAmI(pb.WhoAmIRequest()), UNAUTHENTICATED, "revoked")
    admins = guarded.admin.WhoAmI(pb.WhoAmIRequest()).token.token_id
    refused(lambda: ann.RevokeToken(pb.RevokeTokenRequest(token_id=admins)), NOT_FOUND)


@pytest.mark.parametrize("change", ["disable", "remove", "role", "password", "revoke"])
def test_streams_end_at_once_when_their_caller_changes(guarded, pb, change):
    """Not after the ten seconds in which the node looks for what has expired: this is a deadline below that."""
    ann = guarded.admin.add_user(pb, "ann")
    events = ann.WatchTasks(pb.WatchTasksRequest(), timeout=60)
    task = ann.submit(SLEEP)
    assert next(events).task_id == task
    admin, began = guarded.admin, time.monotonic()
    if change == "disable":
        admin.SetUser(pb.SetUserRequest(name="ann", set_disabled=True, disabled=True))
    elif change == "remove":
        admin.RemoveUser(pb.RemoveUserRequest(name="ann"))
    elif change == "role":
        admin.SetUser(pb.SetUserRequest(name="ann", role=pb.User.VIEWER))
    elif change == "password":
        admin.SetPassword(pb.SetPasswordRequest(user="ann", new_password="correct horse"))
    else:
        ann.RevokeToken(pb.RevokeTokenRequest(token_id=ann.WhoAmI(pb.WhoAmIRequest()).token.token_id))
    refused(lambda: list(events), UNAUTHENTICATED, "not let in any more")
    assert time.monotonic() - began < 8
    assert admin.GetTask(pb.GetTaskRequest(task_id=task)).task.state <= pb.Task.RUNNING  # what he had handed in goes on
    admin.StopTask(pb.StopTaskRequest(task_id=task))


def test_login(guarded, pb):
    guarded.admin.add_user(pb, "ann", "operator", "correct horse")
    nobody = Accounts(guarded)
    login = pb.LoginRequest(user="ann", password="correct horse", lifetime_ms=3_600_000)
    made = nobody.Login(login)
    assert Accounts(guarded, made.secret).WhoAmI(pb.WhoAmIRequest()).role == pb.User.OPERATOR
    assert 3_590_000_000 < made.token.expires_us - made.token.created_us <= 3_600_000_000
    words = [refused(lambda: nobody.Login(pb.LoginRequest(user=user, password="wrong horse")), UNAUTHENTICATED).details()
             for user in ("ann", "nobody")]
    assert words[0] == words[1]
    # After some of them nobody needs to try at once, be it the right one.
    codes = []
    for _ in range(6):
        with pytest.raises(grpc.RpcError) as caught:
            nobody.Login(pb.LoginRequest(user="ann", password="wrong horse"))
        codes.append(caught.value.code())
    assert codes[0] == UNAUTHENTICATED and codes[-1] == EXHAUSTED
    # Tokens are let in all the same.
    assert Accounts(guarded, made.secret).WhoAmI(pb.WhoAmIRequest()).user.name == "ann"
    assert wait_for_audit(guarded, action="login", outcome="denied", user="ann")[0]["from"].startswith("127.0.0.1:")
    everything = guarded.log_path.read_text() + "".join(json.dumps(r) for r in audit(guarded))
    assert "horse" not in everything and made.secret not in everything


def test_many_logins_at_once_hold_up_nobody(guarded, pb):
    guarded.admin.add_user(pb, "ann", "viewer", "correct horse")
    codes, stop = [], threading.Event()

    def hammer():
        channel = Accounts(guarded)
        while not stop.is_set():
            try:
                channel.Login(pb.LoginRequest(user="ann", password="wrong horse"))
            except grpc.RpcError as error:
                codes.append(error.code())
    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            assert guarded.admin.WhoAmI(pb.WhoAmIRequest(), timeout=5).user.name == "admin"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(codes) <= {UNAUTHENTICATED, EXHAUSTED} and EXHAUSTED in codes


def test_what_was_answered_is_in_the_log(guarded, pb):
    """Also when the node is killed right then."""
    guarded.admin.AddUser(pb.AddUserRequest(name="ann", role=pb.User.ADMIN))
    guarded.admin.RemoveUser(pb.RemoveUserRequest(name="ann"))
    guarded.kill()
    found = [(r["action"], r["object"], r["user"], r["outcome"]) for r in audit(guarded)]
    assert ("user.add", "ann", "admin", "ok") in found and ("user.remove", "ann", "admin", "ok") in found
    guarded.start()
    report = Accounts(guarded, guarded.token).VerifyAudit(pb.VerifyAuditRequest(), timeout=60)
    assert report.problem == pb.VerifyAuditResponse.NONE and report.records >= len(found)


def test_queries(guarded, pb):
    for n in range(30):
        guarded.admin.add_user(pb, f"user{n:02}")
    records = [r.record for r in guarded.admin.QueryAudit(pb.QueryAuditRequest(action="user.", limit=5))]
    assert [r.object for r in records] == [f"user{n:02}" for n in range(29, 24, -1)]
    oldest = [r.record for r in guarded.admin.QueryAudit(pb.QueryAuditRequest(action="user.add", oldest_first=True))]
    assert [r.object for r in oldest] == [f"user{n:02}" for n in range(30)]
    assert {r.user for r in oldest} == {"admin"} and {r.outcome for r in oldest} == {pb.AuditRecord.OK}
    behind = pb.QueryAuditRequest(after_seq=oldest[9].seq, before_seq=oldest[20].seq, action="user.add")
    assert [r.record.object for r in guarded.admin.QueryAudit(behind)] == [f"user{n:02}" for n in range(19, 9, -1)]
    when = oldest[29].time_us
    assert all(r.record.time_us >= when for r in guarded.admin.QueryAudit(pb.QueryAuditRequest(since_us=when)))


def test_a_node_that_asks_nobody(make_node, pb, folder):
    node = make_node(authenticated=False).start()
    anybody = Accounts(node)
    for name in LOWEST:
        assert anybody.code(f"/taskworker.AccountService/{name}", b"") == PRECONDITION, name
    done = Shell(node, folder, "anybody")("whoami", code=125)
    assert b"asks nobody" in done.stderr


# --- by the command line ---


def test_a_life_by_the_command_line(guarded, shell, folder, pb):
    assert shell.credentials.stat().st_mode & 0o777 == 0o600
    assert shell.json("whoami")[0]["role"] == "admin"
    secret = shell.file("secret", "correct horse\n")
    user = shell.json("user", "add", "--role", "operator", "--password-file", secret, "ann")[0]
    assert (user["name"], user["role"], user["disabled"]) == ("ann", "operator", False)
    assert [(u["name"], u["has_password"]) for u in shell.json("user", "list")] == [("admin", False), ("ann", True)]

    ann = Shell(guarded, folder, "ann")
    assert b"hivemind login" in ann("whoami", code=125).stderr
    kept = ann.json("login", "--user", "ann", "--password-file", "-", "--expires", "1h", input=b"correct horse\n")[0]
    assert kept["user"] == "ann" and kept["file"] == str(ann.credentials) and kept["token"]["expires_us"] > 0
    token = ann.credentials.read_text().split()[-1]
    assert token.startswith("twt_") and token not in json.dumps(kept)
    assert ann("run", "-", input=b"result = 6 * 7").stdout == b"42\n"
    assert b"takes the role admin" in ann("user", "list", code=125).stderr

    # A token by itself, for a pipe.
    made = ann("token", "add", "--role", "submitter", "--expires", "30m", "ci")
    assert made.stdout.startswith(b"twt_") and made.stdout.count(b"\n") == 1 and b"twt_" not in made.stderr
    ci = ann.file("ci", made.stdout.decode())
    assert ann.json("--token-file", ci, "whoami")[0]["token"]["name"] == "ci"
    listed = {t["name"]: t for t in ann.json("token", "list")}
    assert listed["ci"]["role"] == "submitter" and listed["ci"]["expires_us"] <= kept["token"]["expires_us"]
    ann("token", "revoke", listed["ci"]["token_id"])
    assert b"was revoked" in ann("--token-file", ci, "whoami", code=125).stderr
    assert "ci" not in {t["name"] for t in ann.json("token", "list")}
    assert "ci" in {t["name"] for t in ann.json("token", "list", "-a")}
    ann("token", "revoke", "0123456789abcdef", code=123)

    # What an administrator does to him.
    shell("user", "disable", "ann")
    assert b"disabled" in ann("whoami", code=125).stderr
    shell("user", "enable", "ann")
    shell("user", "role", "ann", "viewer")
    assert ann.json("whoami")[0]["role"] == "viewer"
    assert b"did you mean admin" in shell("user", "role", "ann", "admn", code=2).stderr
    assert b"last administrator" in shell("user", "disable", "admin", code=125).stderr
    shell("user", "enable", "nobody", code=123)

    # His password.
    new = ann.file("new", "battery staple")
    assert b"old password is wrong" in ann("user", "passwd", "--old-password-file", new, "--password-file", new, code=125).stderr
    ann("user", "passwd", "--old-password-file", secret, "--password-file", new)
    ann("logout", "--revoke")
    assert "twt_" not in ann.credentials.read_text()
    assert b"wrong" in ann("login", "--user", "ann", "--password-file", secret, code=125).stderr
    ann("login", "--user", "ann", "--password-file", new)
    shell("user", "remove", "ann")
    assert b"not known here" in ann("whoami", code=125).stderr
    assert b"was removed" in shell("user", "add", "ann", code=125).stderr
    everything = guarded.log_path.read_text() + "".join(json.dumps(r) for r in audit(guarded))
    assert "horse" not in everything and "staple" not in everything and "twt_" not in everything


def test_audit_by_the_command_line(guarded, shell):
    shell("user", "add", "ann")
    shell("user", "disable", "ann")
    shell("user", "remove", "nobody", code=123)
    records = shell.json("audit", "--action", "user.", "--since", "1h")
    assert [(r["action"], r["object"], r["outcome"]) for r in records] == [("user.set", "ann", "ok"), ("user.add", "ann", "ok")]
    assert [r["seq"] for r in shell.json("audit", "--oldest", "-n", "2")] == [1, 2]
    assert shell.json("audit", "--until", "2001-01-01 00:00") == []
    lines = shell("audit", "-u", "admin", "-n", "1").stdout.decode().split()
    assert lines[2:6] == ["ok", "admin", "user.set", "ann"]
    shell("audit", "--outcome", "fine", code=2)
    shell("audit", "verfy", code=2)
    report = shell.json("audit", "verify")[0]
    assert report["ok"] and report["problem"] == "none" and report["last_seq"] >= 3

    # Somebody changes a record.
    guarded.stop()
    path = sorted((guarded.storage / "audit").glob("audit-*.jsonl"))[0]
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if b'"user.add"' in line)
    lines[at] = lines[at].replace(b'"object":"ann"', b'"object":"bob"')
    path.write_bytes(b"".join(lines))
    guarded.start()
    done = shell("audit", "verify", code=1)
    assert b"DAMAGED" in done.stdout and path.name.encode() in done.stdout
    report = json.loads(shell("audit", "verify", "--json", code=1).stdout)
    assert not report["ok"] and report["problem"] == "changed" and report["line"] == at + 1


def test_a_password_goes_nowhere_in_plain_text(guarded, shell):
    """Nor does a token. Nothing listens there, and nobody is asked."""
    far = ["--server", "192.0.2.1:1"]
    secret = shell.file("secret", "correct horse\n")
    for arguments in (["login", "--user", "ann", "--password-file", secret], ["user", "add", "--password-file", secret, "ann"]):
        done = shell(*arguments, *far, code=2)
        assert b"the password is not sent to 192.0.2.1:1 in plain text" in done.stderr
    done = shell("login", "--token", *far, input=guarded.token.encode(), code=2)
    assert b"the token is not sent" in done.stderr
    assert b"192.0.2.1" not in shell.credentials.read_bytes()


def test_login_is_refused_what_it_cannot_keep(guarded, shell, folder):
    other = Shell(guarded, folder, "other")
    assert b"not kept" in other("login", "--token", input=b"twt_" + b"x" * 48, code=125).stderr
    assert not other.credentials.exists()
    other("login", "--token", input=b"two words", code=2)
    other("login", "--token", "--user", "ann", input=guarded.token.encode(), code=2)
    other("login", "--user", "ann", "--password-file", "/nonexistent", code=2)
    assert b"no token" in other("logout").stderr
    made = other("token", "list", HIVEMIND_TOKEN=guarded.token)
    assert b"first" in made.stdout
    assert b"$HIVEMIND_TOKEN" in other("login", "--token", input=guarded.token.encode(), HIVEMIND_TOKEN=guarded.token).stderr


def read_until(fd, words, seen=b""):
    deadline = time.monotonic() + 30
    while words not in seen:
        assert select.select([fd], [], [], max(0, deadline - time.monotonic()))[0], seen
        seen += os.read(fd, 4096)
    return seen


def on_a_terminal(shell, *arguments):
    """Starts the program with a terminal of its own; returns its pid and the terminal."""
    pid, fd = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it, and what they start
        os.execve(shell.node.programs.cli, [str(shell.node.programs.cli), "--server", shell.node.address, *arguments],
                  shell.environment())
    return pid, fd


def test_login_on_a_terminal(guarded, shell, folder):
    secret = shell.file("secret", "correct horse\n")
    shell("user", "add", "--password-file", secret, "ann")
    ann = Shell(guarded, folder, "ann")
    pid, fd = on_a_terminal(ann, "login")
    seen = read_until(fd, b"User: ")
    os.write(fd, b"ann\n")
    seen = read_until(fd, b"Password: ", seen)
    os.write(fd, b"correct horse\n")
    seen = read_until(fd, b"knows you as ann (submitter)", seen)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(fd)
    assert b"horse" not in seen
    assert ann.json("whoami")[0]["user"] == "ann"

    # Whoever thinks better of it ends it as ever.
    pid, fd = on_a_terminal(ann, "user", "passwd")
    read_until(fd, b"Your password as it is: ")
    os.write(fd, b"corr\x03")
    status = os.waitpid(pid, 0)[1]
    os.close(fd)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGINT
