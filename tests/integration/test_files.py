# SPDX-License-Identifier: Apache-2.0
"""Files that users keep on the node: FileService by plain gRPC, and `hivemind storage`."""
import concurrent.futures
import hashlib
import json
import random
import subprocess
import threading

import grpc
import pytest

MIB = 1 << 20


def content(size, seed=1):
    return random.Random(seed).randbytes(size)


def files(node):
    return node.stubs.grpc.FileServiceStub(node.channel)


def refused(call, code, *words):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() == code, caught.value
    for word in words:
        assert word in caught.value.details(), caught.value.details()


def push(node, pb, name, data, user="ann", piece=300_000, **header):
    def messages():
        yield pb.PushStreamRequest(header=pb.PushStreamRequest.Header(filename=name, user_id=user, **header))
        for at in range(0, len(data), piece):
            yield pb.PushStreamRequest(data=data[at:at + piece])
    return files(node).PushStream(messages(), timeout=120).file


def fetch(node, pb, user="ann", **which):
    request = pb.GetStreamRequest(file=pb.FileRequest(user_id=user, **which))
    first, *rest = files(node).GetStream(request, timeout=120)
    return first.file, b"".join(m.data for m in rest)


def names(node, pb, **fields):
    return [f.filename for f in files(node).ListFiles(pb.ListFilesRequest(**fields), timeout=30).files]


def find(node, pb, name, user="ann"):
    return files(node).FindFile(pb.FileRequest(filename=name, user_id=user), timeout=30).file


# --- putting and getting ---


def test_whole_files(node, pb):
    """As the original module does it: one message each way."""
    pushed = files(node).Push(pb.PushRequest(file_data=b"hello", filename="a/b.txt", user_id="ann"), timeout=30)
    assert pushed.status and len(pushed.file_id) == 32
    got = files(node).Get(pb.GetRequest(file_id=pushed.file_id, user_id="ann"), timeout=30)
    assert (got.status, got.file_data) == (True, b"hello")
    empty = files(node).Push(pb.PushRequest(filename="empty", user_id="ann"), timeout=30)
    assert files(node).Get(pb.GetRequest(file_id=empty.file_id, user_id="ann"), timeout=30).file_data == b""


@pytest.mark.parametrize("size", [0, 1, MIB, 50 * MIB + 7])
def test_streams(node, pb, size):
    data = content(size)
    stored = push(node, pb, "big", data, known_size=True, size=size, sha256=hashlib.sha256(data).hexdigest())
    assert (stored.size, stored.sha256) == (size, hashlib.sha256(data).hexdigest())
    info, got = fetch(node, pb, file_id=stored.file_id)
    assert info == stored and got == data
    assert push(node, pb, "unannounced", data, piece=MIB).sha256 == stored.sha256
    assert files(node).GetStorage(pb.GetStorageRequest(), timeout=30).saved_bytes >= size


def test_versions(node, pb):
    first = push(node, pb, "v", b"one")
    second = push(node, pb, "v", b"two", base_version=1)
    assert (second.file_id, second.version) == (first.file_id, 2)
    refused(lambda: push(node, pb, "v", b"three", base_version=1), grpc.StatusCode.ABORTED, "version 2")
    assert fetch(node, pb, filename="v")[1] == b"two"


def test_files_of_others(node, pb):
    mine = push(node, pb, "secret", b"mine")
    for which in ({"file_id": mine.file_id}, {"filename": "secret"}):
        refused(lambda w=which: fetch(node, pb, user="bob", **w), grpc.StatusCode.NOT_FOUND)
        refused(lambda w=which: files(node).DeleteFile(pb.FileRequest(user_id="bob", **w), timeout=30), grpc.StatusCode.NOT_FOUND)
    refused(lambda: files(node).Get(pb.GetRequest(file_id=mine.file_id, user_id="bob"), timeout=30), grpc.StatusCode.NOT_FOUND)
    assert "secret" not in names(node, pb, user_id="bob")
    assert "secret" in names(node, pb, all_users=True)


def test_lists(node, pb):
    for n in range(25):
        push(node, pb, f"list/{n:02}", b"%d" % n, user="lister")
    token, seen = "", []
    while True:
        page = files(node).ListFiles(pb.ListFilesRequest(user_id="lister", prefix="list/1", page_size=3, page_token=token), timeout=30)
        seen += [f.filename for f in page.files]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"list/{n}" for n in range(10, 20)]
    refused(lambda: names(node, pb, user_id="lister", page_token="nonsense"), grpc.StatusCode.INVALID_ARGUMENT)


def test_deleting(node, pb):
    push(node, pb, "gone", b"x")
    files(node).DeleteFile(pb.FileRequest(filename="gone", user_id="ann"), timeout=30)
    refused(lambda: find(node, pb, "gone"), grpc.StatusCode.NOT_FOUND)


# --- what is wrong ---


@pytest.mark.parametrize("name", ["", "../x", "/abs", "a//b", "a/./b", "a\nb", "x" * 1025, "a/" + "y" * 256])
def test_strange_names(node, pb, name):
    refused(lambda: files(node).Push(pb.PushRequest(file_data=b"x", filename=name, user_id="ann"), timeout=30),
            grpc.StatusCode.INVALID_ARGUMENT)
    refused(lambda: push(node, pb, name, b"x"), grpc.StatusCode.INVALID_ARGUMENT)


def test_broken_promises(node, pb):
    """Of a size, of a hash, of the order of messages. Nothing of it stays."""
    before = names(node, pb, user_id="ann")
    data = content(MIB)
    refused(lambda: push(node, pb, "p", data, known_size=True, size=MIB + 1), grpc.StatusCode.INVALID_ARGUMENT, "announced")
    refused(lambda: push(node, pb, "p", data, known_size=True, size=MIB - 1), grpc.StatusCode.INVALID_ARGUMENT, "announced")
    refused(lambda: push(node, pb, "p", data, sha256="0" * 64), grpc.StatusCode.INVALID_ARGUMENT, "SHA-256")
    refused(lambda: push(node, pb, "p", data, sha256="XYZ"), grpc.StatusCode.INVALID_ARGUMENT, "sha256")
    header = pb.PushStreamRequest(header=pb.PushStreamRequest.Header(filename="p", user_id="ann"))
    for messages in ([], [pb.PushStreamRequest(data=b"x")], [header, header]):
        refused(lambda m=messages: files(node).PushStream(iter(m), timeout=30), grpc.StatusCode.INVALID_ARGUMENT, "header" if messages else "first")
    refused(lambda: fetch(node, pb), grpc.StatusCode.INVALID_ARGUMENT, "file_id or filename")
    refused(lambda: fetch(node, pb, file_id="a" * 32, filename="p"), grpc.StatusCode.INVALID_ARGUMENT)
    assert names(node, pb, user_id="ann") == before
    assert files(node).GetStorage(pb.GetStorageRequest(), timeout=30).reserved_bytes == 0


def test_the_quota_holds(make_node, pb):
    """However many push at once: what is acknowledged fits, what is refused leaves nothing."""
    node = make_node(max_storage_size="8M", max_storage_per_owner="5M").start()
    refused(lambda: push(node, pb, "large", content(9 * MIB), known_size=True, size=9 * MIB), grpc.StatusCode.RESOURCE_EXHAUSTED)

    def one(n):
        try:
            push(node, pb, f"f{n}", content(MIB, seed=n), user=f"user{n % 4}")
            return 1
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
            return 0
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        stored = sum(pool.map(one, range(24)))
    assert 0 < stored <= 8
    storage = files(node).GetStorage(pb.GetStorageRequest(), timeout=30)
    assert (storage.files, storage.bytes, storage.reserved_bytes) == (stored, stored * MIB, 0)
    blobs = [p for p in (node.storage / "storage" / "blobs").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in blobs) <= 8 * MIB
    for n in range(24):
        try:
            files(node).DeleteFile(pb.FileRequest(filename=f"f{n}", user_id=f"user{n % 4}"), timeout=30)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND
    refused(lambda: push(node, pb, "own", content(6 * MIB)), grpc.StatusCode.RESOURCE_EXHAUSTED, "one owner")
    push(node, pb, "own", content(4 * MIB))


def test_a_damaged_content_is_never_served(node, pb):
    data = content(3 * MIB, seed=77)
    stored = push(node, pb, "fragile", data)
    blob = node.storage / "storage" / "blobs" / stored.sha256[:2] / stored.sha256[2:]
    blob.chmod(0o600)
    with open(blob, "r+b") as file:
        file.seek(MIB)
        file.write(b"changed")
    for _ in range(2):
        refused(lambda: fetch(node, pb, file_id=stored.file_id), grpc.StatusCode.DATA_LOSS, "damaged")
    refused(lambda: files(node).Get(pb.GetRequest(file_id=stored.file_id, user_id="ann"), timeout=30), grpc.StatusCode.DATA_LOSS)
    assert find(node, pb, "fragile").damaged
    *_, last = files(node).CheckFiles(pb.CheckFilesRequest(), timeout=120)
    assert last.done and last.damaged == 1 and last.lost_files == 1
    push(node, pb, "fragile", data)
    assert fetch(node, pb, file_id=stored.file_id)[1] == data


# --- differences ---


def delta(*commands):
    """In librsync's format (its delta.c): bytes are literal, (offset, length) is copied from the stored version."""
    out = bytes.fromhex("72730236")
    for command in commands:
        if isinstance(command, bytes):
            out += b"\x43" + len(command).to_bytes(4, "big") + command  # literal, length of 4 bytes
        else:
            out += b"\x54" + command[0].to_bytes(8, "big") + command[1].to_bytes(8, "big")  # copy, 8 and 8
    return out + b"\0"


def sha(data):
    return hashlib.sha256(data).hexdigest()


def revise(node, pb, file_id, difference, outcome, time=0, user="ann"):
    return files(node).Revise(pb.ReviseRequest(file_id=file_id, user_id=user, difference=difference, sha256=sha(outcome), time=time),
                              timeout=60)


def test_revise(node, pb):
    old = content(2 * MIB, seed=9)
    stored = push(node, pb, "revised", old)
    new = old[MIB:] + b"in between" + old[:1000]
    answer = revise(node, pb, stored.file_id, delta((MIB, MIB), b"in between", (0, 1000)), new, time=stored.modified_us)
    assert answer.status and answer.file_id == stored.file_id
    info, got = fetch(node, pb, file_id=stored.file_id)
    assert got == new and info.version == 2
    # As a stream.
    header = pb.ReviseStreamRequest.Header(file=pb.FileRequest(filename="revised", user_id="ann"), sha256=sha(new * 2), base_version=2)
    pieces = [delta((0, len(new)), (0, len(new)))[n:n + 7] for n in range(0, 100, 7)]
    messages = [pb.ReviseStreamRequest(header=header), *(pb.ReviseStreamRequest(data=p) for p in pieces)]
    assert files(node).ReviseStream(iter(messages), timeout=60).file.version == 3
    assert fetch(node, pb, filename="revised")[1] == new * 2


def test_synchronous(node, pb):
    stored = push(node, pb, "shared", b"old content", user="")
    answer = files(node).Synchronous(pb.SynchronousRequest(file_id=stored.file_id, difference=delta(b"new", (3, 8))), timeout=30)
    assert answer.status and fetch(node, pb, user="", filename="shared")[1] == b"new content"
    mine = push(node, pb, "mine", b"old content")
    refused(lambda: files(node).Synchronous(pb.SynchronousRequest(file_id=mine.file_id, difference=delta(b"x")), timeout=30),
            grpc.StatusCode.NOT_FOUND)


def test_differences_that_are_refused(node, pb):
    """The old version stays, whatever comes."""
    old = b"0123456789" * 1000
    stored = push(node, pb, "stays", old)
    good = delta((0, 10))
    for difference, outcome, code in (
            (b"", b"", grpc.StatusCode.INVALID_ARGUMENT), (b"nonsense", b"", grpc.StatusCode.INVALID_ARGUMENT),
            (good[:-1], b"0123456789", grpc.StatusCode.INVALID_ARGUMENT), (good + b"x", b"0123456789", grpc.StatusCode.INVALID_ARGUMENT),
            (delta((9_999, 2)), b"", grpc.StatusCode.INVALID_ARGUMENT), (delta((1 << 62, 1)), b"", grpc.StatusCode.INVALID_ARGUMENT),
            (good, b"something else", grpc.StatusCode.INVALID_ARGUMENT)):
        refused(lambda d=difference, o=outcome: revise(node, pb, stored.file_id, d, o), code)
    refused(lambda: revise(node, pb, stored.file_id, good, b"0123456789", time=stored.modified_us - 1), grpc.StatusCode.ABORTED, "anew")
    refused(lambda: revise(node, pb, stored.file_id, good, b"0123456789", time=-1), grpc.StatusCode.INVALID_ARGUMENT)
    refused(lambda: revise(node, pb, stored.file_id, good, b"0123456789", user="bob"), grpc.StatusCode.NOT_FOUND)
    refused(lambda: revise(node, pb, "", good, b"0123456789"), grpc.StatusCode.INVALID_ARGUMENT)
    without_hash = pb.ReviseRequest(file_id=stored.file_id, user_id="ann", difference=good)
    refused(lambda: files(node).Revise(without_hash, timeout=30), grpc.StatusCode.INVALID_ARGUMENT, "sha256")
    assert fetch(node, pb, filename="stays") == (stored, old)
    assert files(node).GetStorage(pb.GetStorageRequest(), timeout=30).reserved_bytes == 0


def test_a_small_difference_that_claims_much(make_node, pb):
    """Copies of copies: the quota is what ends it."""
    node = make_node(max_storage_size="4M").start()
    stored = push(node, pb, "bomb", content(MIB))
    refused(lambda: revise(node, pb, stored.file_id, delta(*[(0, MIB)] * 1000), b""), grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert find(node, pb, "bomb").version == 1
    assert files(node).GetStorage(pb.GetStorageRequest(), timeout=30).reserved_bytes == 0


# --- what breaks off ---


def test_a_push_that_breaks_off(node, pb):
    """The client goes in the middle: nothing stays, not even its room."""
    reached = threading.Event()

    def messages():
        yield pb.PushStreamRequest(header=pb.PushStreamRequest.Header(filename="half", user_id="ann", known_size=True, size=2 * MIB))
        yield pb.PushStreamRequest(data=content(MIB))
        reached.set()
        threading.Event().wait(30)
    call = files(node).PushStream.future(messages(), timeout=60)
    assert reached.wait(30)
    call.cancel()
    tmp = node.storage / "storage" / "tmp"
    while files(node).GetStorage(pb.GetStorageRequest(), timeout=30).reserved_bytes or list(tmp.iterdir()):
        pass
    refused(lambda: find(node, pb, "half"), grpc.StatusCode.NOT_FOUND)


def test_kill_in_the_middle_of_pushes(make_node, pb):
    """What was acknowledged is there as a whole, and nothing else is."""
    node = make_node().start()
    stored, under_way = {}, threading.Event()

    def keep_pushing(worker):
        for n in range(10_000):
            name, data = f"w{worker}/{n}", content(200_000, seed=worker * 100_000 + n)
            try:
                push(node, pb, name, data)
            except grpc.RpcError:
                return
            stored[name] = data
            if len(stored) > 20:
                under_way.set()
    threads = [threading.Thread(target=keep_pushing, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    assert under_way.wait(60)
    node.kill()
    for thread in threads:
        thread.join()
    node.close()
    node.start()
    for name, data in stored.items():
        assert fetch(node, pb, filename=name)[1] == data
    known = {f.sha256 for f in files(node).ListFiles(pb.ListFilesRequest(user_id="ann", page_size=1000), timeout=30).files}
    files(node).CollectGarbage(pb.CollectGarbageRequest(), timeout=60)
    blobs = {p.parent.name + p.name for p in (node.storage / "storage" / "blobs").rglob("*") if p.is_file()}
    assert blobs == known
    assert not list((node.storage / "storage" / "tmp").iterdir())


def test_a_drain_ends_streams(make_node, pb):
    node = make_node().start()
    reached = threading.Event()

    def messages():
        yield pb.PushStreamRequest(header=pb.PushStreamRequest.Header(filename="slow", user_id="ann"))
        reached.set()
        threading.Event().wait(30)
    call = files(node).PushStream.future(messages(), timeout=60)
    assert reached.wait(30)
    node.stop()
    assert call.code() == grpc.StatusCode.UNAVAILABLE


# --- by hand ---


def cli(node, *arguments, code=0, input=None):
    done = node.run_cli("storage", *arguments, input=input)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def test_by_hand(make_node, pb, tmp_path):
    node = make_node().start()
    data = content(3 * MIB, seed=5)
    source, target = tmp_path / "data.bin", tmp_path / "back.bin"
    source.write_bytes(data)
    file_id = cli(node, "put", source).decode().strip()
    assert find(node, pb, "data.bin", user="").file_id == file_id
    cli(node, "get", "data.bin", target)
    assert target.read_bytes() == data
    assert cli(node, "get", "--id", file_id, "-") == data
    assert not [p for p in tmp_path.iterdir() if "part" in p.name]
    cli(node, "put", "--owner", "ann", "-", "in/stdin.txt", input="from standard input")
    assert cli(node, "get", "--owner", "ann", "in/stdin.txt", "-") == b"from standard input"
    listed = cli(node, "ls").decode()
    assert "data.bin" in listed and "stdin" not in listed and "3.0 MiB" in listed
    assert b"ann" in cli(node, "ls", "--all")
    rows = [json.loads(line) for line in cli(node, "--json", "ls", "--all").splitlines()]
    assert {r["filename"]: r["owner"] for r in rows} == {"data.bin": node.me, "in/stdin.txt": "ann"}
    assert b"2 of" in cli(node, "stat") and b"10.0 GiB" in cli(node, "stat")
    assert json.loads(cli(node, "--json", "stat", "--owner", "ann"))["files"] == 1
    assert b"0 damaged" in cli(node, "fsck")
    cli(node, "rm", "data.bin")
    cli(node, "gc")
    assert json.loads(cli(node, "--json", "stat"))["blobs"] == 1


def test_what_goes_wrong_by_hand(make_node, pb, tmp_path):
    node = make_node(max_storage_size="2M").start()
    (tmp_path / "large").write_bytes(content(3 * MIB))
    assert b"full" in cli(node, "put", tmp_path / "large", code=125)
    assert b"nothing" in cli(node, "get", "nothing", tmp_path / "x", code=123)
    assert not list(tmp_path.glob("x*"))
    assert b"cannot read" in cli(node, "put", tmp_path / "missing", code=2)
    assert b"directory" in cli(node, "put", tmp_path, code=2)
    assert b"NAME" in cli(node, "put", "-", code=2, input="x")
    assert b"did you mean" in cli(node, "lss", code=2)
    cli(node, code=2)
    cli(node, "rm", "nothing", code=123)
    node.run_cli("storage", "put", "-", "kept", input="old").check_returncode()
    target = tmp_path / "kept"
    target.write_text("mine")
    blob = next(p for p in (node.storage / "storage" / "blobs").rglob("*") if p.is_file())
    blob.chmod(0o600)
    blob.write_bytes(b"bad")
    assert b"damaged" in cli(node, "get", "kept", target, code=125)
    assert target.read_text() == "mine" and sorted(p.name for p in tmp_path.iterdir()) == ["kept", "large"]
    assert node.run_cli("storage", "fsck").returncode == 1


def test_a_file_that_is_larger_than_memory_should_hold(make_node, pb, tmp_path):
    """Through the node and back in pieces; what it holds of it is looked at in bench/."""
    node = make_node().start()
    source, target = tmp_path / "sparse", tmp_path / "back"
    with open(source, "wb") as file:
        file.truncate(200 * MIB)
        file.write(b"end")
    node.run_cli("storage", "put", source, "sparse", seconds=120).check_returncode()
    node.run_cli("storage", "get", "sparse", target, seconds=120).check_returncode()
    assert subprocess.run(["cmp", source, target], check=False).returncode == 0
