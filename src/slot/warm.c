/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Python task's process is a fork of the slot: its interpreter is up, its usual modules are loaded, and what a fork
 * shares with its parent costs a page fault where it is written and nothing elsewhere. The slot's own interpreter never
 * runs a line of a task; the objects that all tasks share are kept out of the collector's sight (gc.freeze), which would
 * otherwise touch, and so copy, every one of them.
 *
 * What forks of one interpreter share beside memory is its hash seed and its address layout, so a slot serves one owner
 * only and is replaced after a number of tasks (exec/). Random numbers are seeded anew by the module's own fork hook.
 *
 * The interpreter is not finalised at a task's end: the bootstrap has joined threads, run atexit functions and flushed by
 * then, and what is left, tearing down every module, the end of the process does better.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

#include "slot/function_source.h"
#include "slot/loading.h"
#include "slot/warm.h"

#include "bootstrap.inc"

/*
 * In nearly every task, or in the bootstrap. Each module makes each fork dearer: random, datetime and what tracebacks take
 * cost 7 % of all that a slot does, threading with its fork hook 340 us a task (docs/performance.md).
 */
static const char preload[] =
    "import atexit, collections, functools, io, itertools, json, math, os, re, signal, time, types\n"
    "json.dumps({'a': [1, 2.5, None]}); json.loads('[1]'); re.compile('a+b')\n"
    "compile(b'', '', 'exec')\n"; /* makes the types of syntax trees, once for all: 1.4 ms */

/* Everything that is there by then is kept out of the collector's sight. */
static const char freeze[] = "import gc; gc.collect(); gc.freeze()\n";

/* What the interpreter handles or ignores at its start. */
static const int python_signals[] = {SIGINT, SIGPIPE, SIGXFSZ};

static struct {
    PyObject *become_warm, *be_task, *run_task;
    struct sigaction signals[ARRAY_LEN(python_signals)];
    struct warm_pages pages;
} warm;

static int fail(struct slot_error *error, const char *what)
{
    errno = EIO;
    return slot_error_set(error, STAGE_PYTHON, "%s", what);
}

static int start_interpreter(struct slot_error *error)
{
    PyPreConfig pre;
    PyPreConfig_InitIsolatedConfig(&pre);
    pre.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&pre);
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.install_signal_handlers = 0;
    config.parse_argv = 0;
    if (!PyStatus_Exception(status))
        status = PyConfig_SetBytesString(&config, &config.program_name, "/usr/bin/python3");
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return PyStatus_Exception(status) ? fail(error, status.err_msg ? status.err_msg : "starting it") : 0;
}

/* Runs source text in the namespace; an exception is printed by nobody, since nobody could read it. */
static bool run_text(const char *text, const char *name, PyObject *globals)
{
    PyObject *code = Py_CompileString(text, name, Py_file_input);
    PyObject *value = code ? PyEval_EvalCode(code, globals, globals) : NULL;
    Py_XDECREF(code);
    Py_XDECREF(value);
    return value;
}

/* The interpreter believes that they are set; in a task they will be (warm_become), in the slot itself they must not be. */
static void set_signals_aside(void)
{
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < ARRAY_LEN(python_signals); i++)
        (void)sigaction(python_signals[i], &standard, &warm.signals[i]);
}

/* The line of the operator's file that was at work; 0: none was. */
static long line_of(PyObject *traceback)
{
    long line = 0;
    Py_XINCREF(traceback);
    for (PyObject *tb = traceback, *next; tb && tb != Py_None; tb = next) {
        PyObject *frame = PyObject_GetAttrString(tb, "tb_frame"), *at = PyObject_GetAttrString(tb, "tb_lineno");
        PyObject *code = frame ? PyObject_GetAttrString(frame, "f_code") : NULL;
        PyObject *file = code ? PyObject_GetAttrString(code, "co_filename") : NULL;
        if (at && file && PyUnicode_CompareWithASCIIString(file, FUNCTIONS_NAME) == 0)
            line = PyLong_AsLong(at);
        Py_XDECREF(file);
        Py_XDECREF(code);
        Py_XDECREF(at);
        Py_XDECREF(frame);
        next = PyObject_GetAttrString(tb, "tb_next");
        Py_DECREF(tb);
        if (next == Py_None)
            Py_CLEAR(next);
    }
    return line;
}

/* What was raised, in short: it is the only word of it that anybody will see. */
static void take_exception(char *ret, size_t size)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *text = value ? PyObject_Str(value) : NULL;
    const char *s = text ? PyUnicode_AsUTF8(text) : NULL;
    long line = line_of(traceback);
    char where[40] = "";
    if (line > 0)
        snprintf(where, sizeof where, "line %ld: ", line);
    snprintf(
        ret, size, "%s%s%s%s", where, type ? ((PyTypeObject *)type)->tp_name : "?", s && *s ? ": " : "", s ? s : "");
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

/* --- the operator's own code --- */

static PyObject *exit_loading(PyObject *self UNUSED, PyObject *args)
{
    int status;
    if (!PyArg_ParseTuple(args, "i:_exit", &status))
        return NULL;
    loading_exit(status);
}

static PyMethodDef exit_method = {.ml_name = "_exit", .ml_meth = exit_loading, .ml_flags = METH_VARARGS};

/* Puts a function in the place of os._exit; without one, the module's own again. */
static bool replace_exit(PyObject *function)
{
    static const char *const modules[] = {"os", "posix"};
    static PyObject *before;
    for (size_t i = 0; i < ARRAY_LEN(modules); i++) {
        PyObject *module = PyImport_ImportModule(modules[i]);
        if (module && !before)
            before = PyObject_GetAttrString(module, "_exit");
        bool ok = module && before && PyObject_SetAttrString(module, "_exit", function ? function : before) == 0;
        Py_XDECREF(module);
        if (!ok)
            return false;
    }
    return true;
}

/* Whether a thread runs beside this one, as the interpreter knows it; libraries have others, which see to it themselves. */
static bool has_threads(void)
{
    PyObject *module = PyImport_ImportModule("_thread");
    PyObject *count = module ? PyObject_CallMethod(module, "_count", NULL) : NULL;
    bool some = count && PyLong_AsLong(count) > 0;
    Py_XDECREF(count);
    Py_XDECREF(module);
    return some;
}

static int load_modules(const char *list, struct slot_error *error)
{
    char name[PROFILE_MODULE_MAX], subject[PROFILE_MODULE_MAX + 32], why[200];
    int r;
    while ((r = profile_next_module(&list, name, sizeof name)) == 1) {
        snprintf(subject, sizeof subject, "PYTHON_PRELOAD: the module %.50s", name);
        loading_next(subject);
        PyObject *module = PyImport_ImportModule(name);
        if (!module) {
            take_exception(why, sizeof why);
            errno = ECANCELED;
            return slot_error_set(error, STAGE_SETTINGS, "PYTHON_PRELOAD: cannot import %.50s (%.70s)", name, why);
        }
        Py_DECREF(module);
        if (loading_check(has_threads(), error) < 0)
            return -1;
    }
    errno = EINVAL;
    return r == 0 ? 0 : slot_error_set(error, STAGE_SETTINGS, "PYTHON_PRELOAD: %.100s is no name of a module", name);
}

/* The operator's file, as the module `functions`. What it raises is the reason for which there are no sandboxes. */
static int load_functions(const char *source, struct slot_error *error)
{
    char why[200];
    PyObject *globals = PyDict_New(), *module = NULL, *done = NULL;
    if (!*source)
        return 0;
    if (globals && PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0 &&
        run_text(functions_support(), "<functions>", globals))
        module = PyImport_ImportModule("hivemind");
    loading_next("FUNCTIONS: the file");
    if (module)
        done = PyObject_CallMethod(module, "_load", "ys", source, FUNCTIONS_NAME);
    if (!done)
        take_exception(why, sizeof why);
    bool ok = done;
    Py_XDECREF(globals);
    Py_XDECREF(module);
    Py_XDECREF(done);
    errno = ECANCELED;
    return ok ? loading_check(has_threads(), error)
              : slot_error_set(error, STAGE_SETTINGS, "FUNCTIONS cannot be loaded: %.130s", why);
}

static int load_what_is_the_operators(int control, const char *modules, const char *functions, struct slot_error *error)
{
    PyObject *function = PyCFunction_New(&exit_method, NULL);
    if (!function || !replace_exit(function))
        return fail(error, "watching what is loaded");
    loading_begin(control);
    int r = load_modules(modules, error);
    if (r == 0)
        r = load_functions(functions, error);
    loading_end();
    Py_DECREF(function);
    return replace_exit(NULL) || r < 0 ? r : fail(error, "watching what is loaded");
}

int warm_init(int control, const char *modules, const char *functions, struct slot_error *error)
{
    if (start_interpreter(error) < 0)
        return -1;
    PyObject *globals = PyDict_New(), *name = PyUnicode_FromString("hivemind_bootstrap");
    if (!globals || !name || PyDict_SetItemString(globals, "__name__", name) < 0 ||
        PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) < 0 ||
        !run_text(bootstrap_py, "<bootstrap>", globals))
        return fail(error, "loading the bootstrap");
    Py_DECREF(name);
    warm.be_task = PyDict_GetItemString(globals, "_be_task");
    warm.run_task = PyDict_GetItemString(globals, "_run_task");
    warm.become_warm = PyDict_GetItemString(globals, "_become_warm");
    if (!warm.be_task || !warm.run_task || !warm.become_warm || !PyObject_CallNoArgs(warm.become_warm))
        return fail(error, "loading the bootstrap");
    set_signals_aside();
    if (!run_text(preload, "<preload>", globals))
        return fail(error, "loading the usual modules");
    if ((*modules || *functions) && load_what_is_the_operators(control, modules, functions, error) < 0)
        return -1;
    PyObject *rehearse = PyDict_GetItemString(globals, "_rehearse");
    PyObject *done = rehearse ? PyObject_CallNoArgs(rehearse) : NULL;
    if (!done)
        return fail(error, "the rehearsal");
    Py_DECREF(done);
    if (!run_text(freeze, "<freeze>", globals))
        return fail(error, "freezing the usual modules");
    warm_pages_move_code("/libpython");
    warm_pages_learn(&warm.pages);
    return 0;
}

static PyObject *list_of_args(const struct plan *plan)
{
    PyObject *list = PyList_New((Py_ssize_t)plan->n_args);
    for (size_t i = 0; list && i < plan->n_args; i++) {
        PyObject *arg = PyUnicode_DecodeFSDefault(plan->args[i]);
        if (!arg) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, arg);
    }
    return list;
}

/* As os.environ keeps it: bytes. */
static PyObject *dict_of_env(char *const *env)
{
    PyObject *dict = PyDict_New();
    for (; dict && *env; env++) {
        const char *equals = strchr(*env, '=');
        PyObject *key = PyBytes_FromStringAndSize(*env, equals - *env), *value = PyBytes_FromString(equals + 1);
        if (!key || !value || PyDict_SetItem(dict, key, value) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return dict;
}

void warm_copy_pages(void)
{
    warm_pages_copy(&warm.pages);
}

void warm_after_fork(void)
{
    PyOS_AfterFork_Child();
}

int warm_become(const struct plan *plan, char **env, struct slot_error *error)
{
    environ = env;
    for (size_t i = 0; i < ARRAY_LEN(python_signals); i++)
        (void)sigaction(python_signals[i], &warm.signals[i], NULL);
    PyObject *args = list_of_args(plan), *dict = dict_of_env(env);
    PyObject *done = args && dict ? PyObject_CallFunctionObjArgs(warm.be_task, args, dict, NULL) : NULL;
    Py_XDECREF(args);
    Py_XDECREF(dict);
    Py_XDECREF(done);
    return done ? 0 : fail(error, "arguments and environment");
}

int warm_rehearse(void)
{
    static const char source[] = "result = 42\n";
    struct plan plan = {.kind = PLAN_PYTHON};
    struct slot_error error;
    char path[] = "PATH=/usr/bin", id[] = "TASK_ID=rehearsal", *env[] = {path, id, NULL};
    int from = fd_sealed_memfd("source", source, sizeof source - 1), to = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (from < 0 || to < 0)
        return -1;
    warm_copy_pages();
    warm_after_fork();
    if (warm_become(&plan, env, &error) < 0)
        return -1;
    PyObject *status = PyObject_CallFunction(warm.run_task, "ii", from, to);
    return status ? 0 : -1;
}

/* What the task's sys.exit() said, as the interpreter itself would turn it into an exit code. */
static int exit_code_of(PyObject *status)
{
    if (!status)
        return 1;
    if (status == Py_None)
        return 0;
    if (PyLong_Check(status)) {
        long code = PyLong_AsLong(status);
        PyErr_Clear();
        return (int)code;
    }
    PyObject *text = PyObject_Str(status);
    const char *s = text ? PyUnicode_AsUTF8(text) : NULL;
    PyErr_Clear();
    if (s && write(STDERR_FILENO, s, strlen(s)) >= 0)
        (void)!write(STDERR_FILENO, "\n", 1);
    return 1;
}

_Noreturn void warm_run(void)
{
    PyObject *status = PyObject_CallNoArgs(warm.run_task);
    if (!status)
        PyErr_Print(); /* not the task's: the bootstrap reports what a task raises */
    _exit(exit_code_of(status));
}
