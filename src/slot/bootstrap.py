# SPDX-License-Identifier: Apache-2.0
# Runs a task's source as __main__ and reports its global `result`, with the source on fd 3 and the result pipe on fd 4 (see
# slot/result_frame.h). Cold it is started as `python3 -I -c THIS ARGS...`; warm it is loaded once into the slot's interpreter,
# and each task's process, a fork of that, calls _be_task() and then _run_task(). Cold start counts: import nothing that is
# not needed.


class _Loader:
    """What tracebacks and inspect get the task's lines from: there is no such file."""

    def __init__(self, source):
        self.source = source

    def get_source(self, _=None):
        from io import BytesIO, IncrementalNewlineDecoder
        from tokenize import detect_encoding

        try:
            encoding, _ = detect_encoding(BytesIO(self.source).readline)
        except SyntaxError:
            encoding = "utf-8"
        return IncrementalNewlineDecoder(None, True).decode(self.source.decode(encoding, "replace"))


def _run_task(source_fd=3, result_fd=4):
    import sys
    import os

    pid = os.getpid()
    os.set_inheritable(result_fd, False)
    size = os.fstat(source_fd).st_size
    source = os.read(source_fd, size)
    while len(source) < size:  # a read may bring less than it was asked for
        source += os.read(source_fd, size - len(source))
    name = os.readlink(f"/proc/self/fd/{source_fd}")
    os.close(source_fd)

    cwd = os.getcwd()
    if name.startswith("/memfd:"):
        name = cwd + "/task.py"
    else:  # a file of the task's package
        sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path and path != cwd]
    sys.argv[0] = name
    sys.path.insert(0, cwd)
    if not sys.stdout.line_buffering:
        sys.stdout.reconfigure(line_buffering=True)

    main = type(sys)("__main__")
    main.__builtins__ = sys.modules["builtins"]
    main.__loader__ = _Loader(source)
    main.__file__ = name
    main.__annotations__ = {}
    sys.modules["__main__"] = main

    def send(kind, data):
        if os.getpid() != pid:  # a forked child that fell out of the task's code
            return
        view = memoryview(kind + len(data).to_bytes(8, "little") + data)
        try:
            while view:
                view = view[os.write(result_fd, view) :]
        except OSError:
            pass  # closed by the task: then there is no result

    def send_error(text):
        send(b"E", text[-65536:].encode("utf-8", "replace"))

    def show(error):
        """Prints the exception as Python does, without the frames of this file, and sends it."""
        tb = error.__traceback__
        while tb and tb.tb_frame.f_globals is _run_task.__globals__:
            tb = tb.tb_next
        # Nor those between here and a function that was called by name.
        ours, at = getattr(sys.modules.get("hivemind"), "_frames", ()), tb
        while at:
            if at.tb_frame.f_code in ours:
                tb = at.tb_next
            at = at.tb_next
        error.__traceback__ = tb
        try:
            import traceback

            text = "".join(traceback.format_exception(type(error), error, tb))
        except BaseException as e:  # an exception whose own __str__ raises in unheard-of ways, or no memory
            text = type(error).__name__ + ": cannot be shown: " + type(e).__name__ + "\n"
        try:
            sys.stdout.flush()
        except BaseException:
            pass
        try:
            if sys.excepthook is sys.__excepthook__:
                sys.stderr.write(text)
            else:
                sys.excepthook(type(error), error, tb)
        except BaseException:
            pass
        send_error(text)

    def to_json(value):
        if value is None or value is True or value is False:
            return {None: b"null", True: b"true", False: b"false"}[value]
        if type(value) is int:
            return str(value).encode()
        import json

        # NaN and the infinities are no JSON: an error, not something that the reader chokes on.
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:  # lone surrogates, which only escapes can write
            return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()

    status = None
    try:
        exec(compile(source, name, "exec", dont_inherit=True), main.__dict__)
    except SystemExit as e:
        status = e.code
        if status is not None and not isinstance(status, int):
            try:
                send_error(str(status))
                if hasattr(e, "status"):  # of functions.py's: a code beside the text
                    sys.stderr.write(f"{status}\n")
                    status = e.status
            except BaseException:
                pass
        e.__traceback__ = None
    except BaseException as e:
        status = 1
        show(e)

    # What the interpreter does at its end, here, so that the result is taken after it.
    if "threading" in sys.modules:
        try:
            sys.modules["threading"]._shutdown()
        except BaseException as e:
            status = status or 1
            show(e)
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass
    if os.getpid() == pid and "result" in main.__dict__:
        try:
            data = to_json(main.__dict__["result"])
        except BaseException as e:
            if not status:
                status = 1
                problem = f"{type(e).__name__}: the global `result` cannot be written as JSON: {e}\n"
                try:
                    sys.stderr.write(problem)
                except BaseException:
                    pass
                send_error(problem)
        else:
            send(b"R", data)
    elif status is None or status == 0:
        send(b"R", b"null")
    return status


def _become_warm():
    """Once, in the slot's interpreter, before anything is forked from it: what all its tasks have in common."""
    import signal
    import sys

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.stdout.reconfigure(line_buffering=True)


def _rehearse():
    """
    Likewise: what the interpreter learns when it runs a task (specialised code, its caches) is written here, once, and not
    in each task's own copy of the memory.
    """
    import os
    import sys

    path, argv, main, environment = sys.path[:], sys.argv[:], sys.modules["__main__"], dict(os.environ._data)
    for _ in range(20):
        source, result = os.memfd_create("rehearsal"), os.open("/dev/null", os.O_WRONLY)
        os.write(source, b"result = 42\n")
        os.lseek(source, 0, os.SEEK_SET)
        _be_task([], {b"PATH": b"/usr/bin"})
        _run_task(source, result)
        os.close(result)
    sys.path[:], sys.argv[:], sys.modules["__main__"] = path, argv, main
    os.environ._data.clear()
    os.environ._data.update(environment)


def _be_task(args, env):
    """Makes the fork of the slot's interpreter look like a fresh one of the task's own."""
    import os
    import sys

    sys.argv[:] = ["", *args]
    os.environ._data.clear()
    os.environ._data.update(env)  # of bytes; the process's own environment is set already


if __name__ == "__main__":
    raise SystemExit(_run_task())
