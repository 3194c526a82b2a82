# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments, under load, again and again; now and then the node is restarted while its tasks go on, and
killed while it leaves them or takes them up.

What must hold: a task whose ExecuteTask was answered ends exactly once, with the right result; one without retries is
executed at most once; what a client has been told of an end stays true; a batch is there as a whole or not at all; who comes
after another starts when that has ended; who was stopped stays so, and nobody is stopped without being asked to; the events
tell the same story; who asked for a stored file has it; what a task leaves is kept when it has ended; and nothing is left over.

A task proves its executions itself: each writes a line with a fresh random token first, and returns the token. The log
is kept over crashes, so its lines are the executions, and attempt, log and result must agree.

CRASH_ROUNDS says how many kills (scripts/crash-test), CRASH_SEED repeats a run's moments.
"""
import io
import json
import os
import random
import sqlite3
import threading
import time
import zipfile

import grpc

from harness.node import CHANNEL_OPTIONS

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "6"))
SEED = int(os.environ.get("CRASH_SEED", str(int.from_bytes(os.urandom(4), "little"))))
CLIENTS = 4
MAX_UNFINISHED = 60  # per client: the load stays ahead of the node without growing for ever

SOURCE = """
import os, sys, time
token = os.urandom(8).hex()
os.write(1, f"begin {token}\\n".encode())
open("token", "w").write(token)
for name in os.listdir("/inputs"):
    assert open("/inputs/" + name).read() == name
time.sleep(float(sys.argv[2]))
if "flaky" in sys.argv and os.urandom(1)[0] < 128:
    sys.exit(7)
result = [sys.argv[1], token]
"""


def packed():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("main.py", SOURCE)
    return out.getvalue()


PACKAGE = packed()


class Client(threading.Thread):
    """Hands tasks in, waits for some of them, and remembers what it was told."""

    def __init__(self, node, pb, name, seed):
        super().__init__(daemon=True)
        self.node, self.pb, self.name_, self.random = node, pb, name, random.Random(seed)
        self.connect()
        self.stop = threading.Event()
        self.alive = threading.Semaphore(0)  # released with every acknowledgement
        self.requests = {}      # id -> request, of everything that was ever sent
        self.batches = {}       # batch id -> ids
        self.batch_of = {}      # id -> batch id
        self.acknowledged = {}  # id -> how often the answer was success
        self.ended = {}         # id -> (Task, result) as told by WaitTask
        self.unexpected = []
        self.open = []
        self.to_stop = set()    # somebody has asked for their end
        self.stopped = set()    # and was told that it is so
        self.paused = set()     # or about to be

    def connect(self):
        # Not one of the node's own channels, which it closes when it is killed.
        self.channel = self.node.with_token(grpc.insecure_channel(self.node.address, options=CHANNEL_OPTIONS))
        self.stub = self.node.stubs.grpc.TaskWorkerServiceStub(self.channel)

    def send(self, task_id):
        if task_id in self.batch_of:
            return self.send_batch(self.batch_of[task_id])
        answer = self.stub.ExecuteTask(self.requests[task_id], timeout=20)
        if not answer.success:
            self.unexpected.append(f"{task_id}: success=false without an error status")
        self.acknowledged[task_id] = self.acknowledged.get(task_id, 0) + 1
        self.alive.release()

    def send_batch(self, batch_id):
        ids = self.batches[batch_id]
        request = self.pb.ExecuteBatchRequest(batch_id=batch_id, tasks=[self.requests[i] for i in ids])
        answer = self.stub.ExecuteBatch(request, timeout=20)
        if list(answer.task_ids) != ids:
            self.unexpected.append(f"{batch_id}: {list(answer.task_ids)} in place of {ids}")
        for task_id in ids:
            self.acknowledged[task_id] = self.acknowledged.get(task_id, 0) + 1
        self.alive.release()

    def make_request(self):
        task_id = f"{self.name_}-{len(self.requests)}"
        pause = self.random.choice([0, 0, 0, 0.01, 0.05, 0.3])
        retries = self.random.choice([0, 0, 100])
        flaky = ["flaky"] if retries and self.random.random() < 0.3 else []
        self.requests[task_id] = self.pb.ExecuteTaskRequest(
            task_id=task_id, task_type="python", task_data=SOURCE.encode(), args=[task_id, str(pause), *flaky],
            retries=retries, retry_delay_ms=1, env={"N": str(len(self.requests))})
        if self.random.random() < 0.2:
            self.requests[task_id].inputs.add(name="kept")
        if self.random.random() < 0.2:
            self.requests[task_id].outputs.append("tok*")
        if self.random.random() < 0.2:
            self.requests[task_id].task_type, self.requests[task_id].task_data = "package", PACKAGE
        self.open.append(task_id)
        return task_id

    def new_task(self):
        task_id = self.make_request()
        known = list(self.acknowledged)
        if known and self.random.random() < 0.2:
            self.requests[task_id].after.append(self.random.choice(known))
            self.requests[task_id].after_any = True
        self.send(task_id)

    def new_batch(self):
        batch_id = f"{self.name_}-b{len(self.batches)}"
        ids = self.batches[batch_id] = [self.make_request() for _ in range(3)]
        self.requests[ids[2]].after.append(ids[0])
        self.requests[ids[2]].after_any = True
        self.batch_of.update((i, batch_id) for i in ids)
        self.send_batch(batch_id)

    def stop_one(self):
        task_id = self.random.choice(self.open)
        self.to_stop.add(task_id)
        self.stub.StopTask(self.pb.StopTaskRequest(task_id=task_id), timeout=20)
        self.stopped.add(task_id)

    def pause_one(self):
        task_id = self.random.choice(self.open)
        self.paused.add(task_id)
        self.stub.PauseTask(self.pb.PauseTaskRequest(task_id=task_id), timeout=20)

    def resume_all(self):
        for task_id in list(self.paused):
            try:
                self.stub.ResumeTask(self.pb.ResumeTaskRequest(task_id=task_id), timeout=20)
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND):
                    raise
            self.paused.remove(task_id)

    def wait_for_one(self):
        task_id = self.random.choice(self.open)
        answer = self.stub.WaitTask(self.pb.WaitTaskRequest(task_id=task_id, include_result=True), timeout=20)
        self.ended[task_id] = (answer.task, answer.result)
        self.open.remove(task_id)

    def run(self):
        while not self.stop.is_set():
            try:
                self.resume_all()
                what = self.random.random()
                if what < 0.1 and self.requests:
                    self.send(self.random.choice(list(self.requests)))  # handed in again: the same task
                elif what < 0.2 and len(self.open) < MAX_UNFINISHED:
                    self.new_batch()
                elif what < 0.7 and len(self.open) < MAX_UNFINISHED:
                    self.new_task()
                elif self.open and what < 0.75:
                    self.stop_one()
                elif self.open and what < 0.8:
                    self.pause_one()
                elif self.open:
                    self.wait_for_one()
            except grpc.RpcError as error:
                # The node is dead at the moment; and a task that was never acknowledged may not be there.
                usual = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED,
                         grpc.StatusCode.RESOURCE_EXHAUSTED)
                if error.code() == grpc.StatusCode.FAILED_PRECONDITION and "ended" in error.details():
                    continue  # it cannot be stopped or paused any more
                if error.code() == grpc.StatusCode.NOT_FOUND:
                    self.open = [t for t in self.open if t in self.acknowledged]
                elif error.code() not in usual:
                    self.unexpected.append(f"{error.code()}: {error.details()}")
                if error.code() == grpc.StatusCode.UNAVAILABLE:
                    # A new connection at once, where the old channel would back off for longer than a node lives here.
                    self.channel.close()
                    self.connect()
                self.stop.wait(0.02)
        self.channel.close()


def test_no_task_is_lost_or_doubled(make_node, pb, capsys):
    chance = random.Random(SEED)
    # Attempts that were lost count for the delay of a later failure too, and here there may be very many of them.
    node = make_node(max_concurrent_tasks=4, max_retry_delay="1s").start()
    node.stubs.grpc.FileServiceStub(node.channel).Push(pb.PushRequest(filename="kept", file_data=b"kept"), timeout=30)
    clients = [Client(node, pb, f"c{i}", chance.random()) for i in range(CLIENTS)]
    try:
        for c in clients:
            c.start()
        for n in range(ROUNDS):
            # Under load: somebody has an answer from this very start. Then, the moment of death is the point of the
            # exercise, hence the clock here.
            someone = chance.choice(clients)
            while someone.alive.acquire(blocking=False):
                pass
            assert someone.alive.acquire(timeout=60), f"no acknowledgement within 60 s; the node's log:\n{node.log()[-3000:]}"
            time.sleep(chance.choice([0.02, 0.1, 0.3, 0.6, 1.0]) * chance.random() + 0.01)
            how = chance.random()
            if how < 0.2:
                node.detach()
            elif how < 0.4:
                node.kill_while_leaving(chance.random() * 0.02)
            else:
                node.kill()
            if how < 0.4 and chance.random() < 0.5:
                node.start_and_kill(chance.random() * 0.2)
            node.start()
            with capsys.disabled():
                if ROUNDS > 10 and (n + 1) % 10 == 0:
                    print(f"crash test: {n + 1} of {ROUNDS} kills, "
                          f"{sum(len(c.acknowledged) for c in clients)} tasks acknowledged", flush=True)
    finally:
        for c in clients:
            c.stop.set()
        for c in clients:
            c.join(60)
    assert not any(c.is_alive() for c in clients)

    for c in clients:
        c.connect()
        c.resume_all()
        c.channel.close()
    problems = [f"{c.name_}: {text}" for c in clients for text in c.unexpected]
    counts = {}
    for c in clients:
        for task_id in c.requests:
            problems += check(node, pb, c, task_id, counts)
        problems += check_batches(node, c)
    problems += check_events(node, pb, clients)
    status = node.status()
    if status.running_tasks or status.queued_tasks:
        problems.append(f"all has ended, but the node counts {status.running_tasks} running and {status.queued_tasks} queued")
    listed = count_tasks(node, pb)
    if listed != counts["known"]:
        problems.append(f"the node lists {listed} tasks, but {counts['known']} are known")
    assert not problems, f"seed {SEED}:\n" + "\n".join(problems[:50])
    assert counts["COMPLETED"] > 0
    with capsys.disabled():
        print(f"\ncrash test: {ROUNDS} kills, seed {SEED}: {counts}", flush=True)
    node.stop()
    problems = check_storage(node)
    assert not problems, f"seed {SEED}:\n" + "\n".join(problems)


def count(counts, *names):
    for name in names:
        counts[name] = counts.get(name, 0) + 1


def check(node, pb, client, task_id, counts):
    """What the node now says of one task against what it was given and what it has said before."""
    problems = []
    request = client.requests[task_id]
    try:
        task, result = node.wait(task_id, seconds=120)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND and task_id not in client.acknowledged:
            count(counts, "never acknowledged and not there")
            return []
        return [f"{task_id}: acknowledged {client.acknowledged.get(task_id, 0)} times, but {error.code()}: {error.details()}"]
    count(counts, "known", "acknowledged" if task_id in client.acknowledged else "not acknowledged but there",
          pb.Task.State.Name(task.state))

    lines = node.output(task_id).decode().splitlines()
    tokens = [line.split()[1] for line in lines if line.startswith("begin ") and len(line.split()) == 2]
    if len(tokens) != len(lines):
        problems.append(f"strange log {lines!r}")
    if len(tokens) > task.attempt or len(set(tokens)) != len(tokens):
        problems.append(f"{len(tokens)} executions in {task.attempt} attempts")
    if task.attempt > 1 + request.retries:
        problems.append(f"{task.attempt} attempts with {request.retries} retries")
    if task.state == pb.Task.COMPLETED:
        if not tokens or json.loads(result) != [task_id, tokens[-1]]:
            problems.append(f"result {result!r}, log {lines!r}")
        if request.outputs:
            kept = node.stubs.grpc.FileServiceStub(node.channel).FindFile(pb.FileRequest(filename=f"{task_id}/token"), timeout=30).file
            got = node.stubs.grpc.FileServiceStub(node.channel).Get(pb.GetRequest(file_id=kept.file_id), timeout=30)
            if got.file_data.decode() != tokens[-1]:
                problems.append(f"left {got.file_data!r}, log {lines!r}")
    elif (task.state, task.reason) == (pb.Task.STOPPED, pb.Task.STOPPED_BY_USER):
        if task_id not in client.to_stop:
            problems.append(f"was stopped, and nobody has asked for it: {task.message}")
    elif (task.state, task.reason) != (pb.Task.FAILED, pb.Task.LOST) or request.retries or task.attempt != 1:
        problems.append(f"ended as {pb.Task.State.Name(task.state)}, {pb.Task.Reason.Name(task.reason)}: {task.message} {task.error}")
    if task_id in client.stopped and task.state != pb.Task.STOPPED:
        problems.append(f"was stopped, and is {pb.Task.State.Name(task.state)} now")
    if task_id in client.ended:
        for told in task, client.ended[task_id][0]:
            told.ClearField("after")  # says how the others stand now, who may have been waited for in vain
    if task_id in client.ended and client.ended[task_id] != (task, result):
        problems.append(f"its end has changed: {differences(client.ended[task_id][0], task)}; result {client.ended[task_id][1]!r}, "
                        f"now {result!r}")
    return [f"{task_id}: {p}" for p in problems]


def is_there(node, task_id):
    try:
        return node.get(task_id)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
        return None


def check_batches(node, client):
    problems = []
    for batch_id, ids in client.batches.items():
        there = [task_id for task_id in ids if is_there(node, task_id)]
        if there and there != ids:
            problems.append(f"{batch_id}: only {there} of {ids} are there")
    for task_id, request in client.requests.items():
        task = is_there(node, task_id) if request.after else None
        for other in request.after if task and task.started_us else ():
            if task.started_us < node.get(other).finished_us:
                problems.append(f"{task_id} was started before {other} had ended")
    return problems


def check_events(node, pb, clients):
    """Each task's events: it was accepted, once and first; it ended, once and last, as it says; numbers go up."""
    seen, last, problems = {}, 0, []
    for event in node.stub.WatchTasks(pb.WatchTasksRequest(only_past=True), timeout=120):
        if event.number <= last:
            problems.append(f"event {event.number} came behind {last}")
        last = event.number
        seen.setdefault(event.task_id, []).append(event.kind)
    k = pb.TaskEvent
    ends = {pb.Task.COMPLETED: k.COMPLETED, pb.Task.FAILED: k.FAILED, pb.Task.STOPPED: k.STOPPED}
    for client in clients:
        for task_id in client.requests:
            task, kinds = is_there(node, task_id), seen.pop(task_id, [])
            if not task and kinds:
                problems.append(f"{task_id}: is not there, but has events {kinds}")
            elif task and (not kinds or kinds[0] != k.ACCEPTED or kinds.count(k.ACCEPTED) != 1 or
                           kinds[-1] != ends.get(task.state) or sum(e in ends.values() for e in kinds) != 1):
                problems.append(f"{task_id}: {pb.Task.State.Name(task.state)}, but its events are {kinds}")
    return problems + [f"events of {task_id}, which nobody handed in" for task_id in seen]


def differences(before, now):
    fields = before.DESCRIPTOR.fields
    return ", ".join(f"{f.name} was {getattr(before, f.name)!r}, is {getattr(now, f.name)!r}" for f in fields
                     if getattr(before, f.name) != getattr(now, f.name))


def count_tasks(node, pb):
    total, token = 0, ""
    while True:
        page = node.stub.ListTasks(pb.ListTasksRequest(page_size=1000, page_token=token), timeout=60)
        total, token = total + len(page.tasks), page.next_page_token
        if not token:
            return total


def check_storage(node):
    """The stopped node's folder: a sound database, and no file that was only on its way to somewhere."""
    problems = [f"inputs {path.name}" for path in (node.storage / "storage" / "inputs").iterdir()]
    for path in node.storage.rglob("*"):
        if not path.is_file():
            continue
        if path.suffix in (".new", ".tmp", ".part"):
            problems.append(f"temporary file {path}")
        with open(path, "rb") as f:
            if f.read(15) != b"SQLite format 3":
                continue
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            said = database.execute("PRAGMA integrity_check").fetchone()[0]
            if said != "ok":
                problems.append(f"{path}: {said}")
    return problems
