# SPDX-License-Identifier: Apache-2.0
# Functions that can be called by name. Warm, this runs once in the slot's interpreter and loads the operator's file there; cold,
# it stands in front of the task's source. A file of functions says
#
#     from hivemind import function
#
#     @function("add")
#     def add(a, b): ...
#
# and _call() is given {"function": name, "args": [...], "kwargs": {...}} as JSON.


def _install():
    import sys

    hivemind = type(sys)("hivemind")
    known = {}

    class Loader:
        def __init__(self, source):
            self.source = source

        def get_source(self, _=None):
            return self.source

    def function(name=None):
        """Makes a function callable under this name, or, without one, under its own."""

        def register(f, name=name):
            if not isinstance(name, str):
                name = f.__name__
            if not name or name in known:
                raise ValueError(f"there are two functions with the name {name!r}" if name else "a function without a name")
            known[name] = f
            return f

        return register(name) if callable(name) else register

    def unknown(name):
        from difflib import get_close_matches

        folded = {k.casefold(): k for k in known}
        near = [folded[k] for k in get_close_matches(name.casefold()[:256], folded, 1)]
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        error = SystemExit(f"there is no function {name!r} here{hint}, only: " + (", ".join(sorted(known)) or "none"))
        error.status = 123
        return error

    def call(data):
        import json

        try:
            wanted = json.loads(data)
            name, args, kwargs = wanted["function"], wanted.get("args", []), wanted.get("kwargs", {})
            if not (isinstance(name, str) and isinstance(args, list) and isinstance(kwargs, dict)):
                raise TypeError("of the wrong type")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise SystemExit(f'task_data is no {{"function": NAME, "args": [...], "kwargs": {{...}}}}: {type(e).__name__}: {e}') from None
        f = known.get(name)
        if f is None:
            raise unknown(name)
        return f(*args, **kwargs)

    def load(source, path):
        module = type(sys)("functions")
        module.__file__ = path
        text = source.decode("utf-8", "replace")
        module.__loader__ = Loader(text)
        sys.modules["functions"] = module
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)

    hivemind.function, hivemind._call, hivemind._load = function, call, load
    hivemind._frames = (call.__code__, load.__code__)  # a traceback begins behind them
    sys.modules["hivemind"] = hivemind


_install()
