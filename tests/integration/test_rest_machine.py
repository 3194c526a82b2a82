# SPDX-License-Identifier: Apache-2.0
"""How the machine and the node are doing, by REST: history, metrics, the node's log."""
import re
import time

import pytest

from harness import waiting
from harness.rest import Rest, port_of, submit, wait

LINE = re.compile(r'([a-z_:][a-z0-9_:]*)(\{[a-z_]+="[^"\\\n]*"\})? (-?[0-9][0-9.e+-]*)')


@pytest.fixture(scope="module")
def shared(module_maker):
    return module_maker(authenticated=False, web=True, web_port=0).start()


@pytest.fixture
def rest(shared):
    return Rest(port_of(shared))


def points(rest, *names, **more):
    """{(name, label): [values]} of the last minutes, and the times."""
    query = "&".join([f"series={name}" for name in names] + [f"{k}={v}" for k, v in more.items()])
    status, value, _ = rest.get(f"/api/history?{query}")
    assert status == 200, value
    assert len(value["at_us"]) == len(value["step_us"]) and len(value["series"]) == len(value["values"])
    assert all(len(column) == len(value["at_us"]) for column in value["values"])
    return {(s["name"], s.get("label")): column for s, column in zip(value["series"], value["values"])}, value["at_us"]


def test_history(rest):
    waiting.wait_until(lambda: len(points(rest, "tasks_running")[1]) >= 3)
    task = submit(rest, "import time; time.sleep(600)")
    waiting.wait_until(lambda: 1 in points(rest, "tasks_running")[0][("tasks_running", None)])
    rest.post(f"/api/v1/tasks/{task}/stop")
    columns, at = points(rest)
    assert at == sorted(at) and all(t % 1_000_000 == 0 for t in at)
    assert {("cpu_busy_ratio", None), ("memory_used_bytes", None), ("disk_free_bytes", None), ("tasks_queued", None)} <= set(columns)
    assert all(label is None for _, label in columns)
    used, total = columns[("memory_used_bytes", None)][-1], columns[("memory_total_bytes", None)][-1]
    assert 0 < used < total
    cores, _ = points(rest, "core_busy_ratio")
    assert {name for name, _ in cores} == {"core_busy_ratio"} and len({label for _, label in cores}) == len(cores) >= 1
    assert len(points(rest, "tasks_running", max_points=2)[1]) <= 2
    assert points(rest, "tasks_running", from_us=1, to_us=2)[1] == []
    assert points(rest, "nothing")[0] == {}


def test_completed_tasks_show(rest):
    wait(rest, submit(rest))
    waiting.wait_until(lambda: any(v for v in points(rest, "tasks_completed_per_second")[0][("tasks_completed_per_second", None)] if v))


def test_history_outlives_the_node(make_node):
    node = make_node(authenticated=False, web=True, web_port=0).start()
    rest = Rest(port_of(node))
    waiting.wait_until(lambda: len(points(rest, "load_1m")[1]) >= 2)
    before = points(rest, "load_1m")[1][0]
    node.stop()
    node.start()
    rest = Rest(port_of(node))
    waiting.wait_until(lambda: before in points(rest, "load_1m")[1])


@pytest.mark.parametrize("query", ["from_us=x", "from_us=-1", "to_us=99999999999999999999", "max_points=0", "max_points=2001", "what=1",
                                   "series=" + "x" * 64, "&".join(["series=x"] * 65), "series=%ff"])
def test_bad_questions_about_the_past(rest, query):
    assert rest.get("/api/history?" + query)[0] == 400


def read_metrics(text):
    """{family: (type, {line: value})}; fails where a family's lines do not stand together."""
    families, current = {}, None
    for line in text.splitlines():
        words = line.split(" ", 3)
        if words[:2] == ["#", "TYPE"]:
            current = words[2]
            assert current not in families, f"{current} stands in two places"
            families[current] = (words[3], {})
        elif words[:2] in (["#", "UNIT"], ["#", "HELP"]):
            assert words[2] == current and len(words) == 4
            assert words[1] == "HELP" or current.endswith("_" + words[3])
        elif line != "# EOF":
            match = LINE.fullmatch(line)
            assert match and match[1].startswith(current), line
            assert match[1] + (match[2] or "") not in families[current][1], line
            families[current][1][match[1] + (match[2] or "")] = float(match[3])
    return families


def test_metrics(rest):
    wait(rest, submit(rest))
    status, text, headers = rest.get("/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = read_metrics(text.decode())
    kind, lines = families["hivemind_tasks_completed_total"]
    assert kind == "counter" and lines["hivemind_tasks_completed_total"] >= 1
    waiting.wait_until(lambda: "hivemind_core_busy_ratio" in read_metrics(rest.get("/metrics")[1].decode()))
    status, text, headers = rest.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
    assert status == 200 and headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.decode().endswith("\n# EOF\n")
    families = read_metrics(text.decode())
    assert families["hivemind_tasks_completed"][0] == "counter" and "hivemind_tasks_completed_total" in families["hivemind_tasks_completed"][1]
    assert families["hivemind_node"][0] == "info"
    assert 0 < families["hivemind_memory_total_bytes"][1]["hivemind_memory_total_bytes"]
    assert abs(families["hivemind_start_time_seconds"][1]["hivemind_start_time_seconds"] - time.time()) < 3600


def test_the_nodes_log(rest):
    lines = rest.get("/api/logs")[1]["logs"]
    assert any(line["message"].startswith("ready: ") and line["level"] == "INFO" for line in lines)
    assert [line["number"] for line in lines] == sorted({line["number"] for line in lines})
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines[0]["timestamp"]) and lines[0]["time_us"] > 0
    assert rest.get("/api/logs?limit=1")[1]["logs"] == rest.get("/api/logs")[1]["logs"][-1:]
    assert rest.get(f"/api/logs?after={lines[-2]['number']}&limit=1000")[1]["logs"][0] == lines[-1]
    assert all(line["level"] in ("ERROR", "WARNING") for line in rest.get("/api/logs?level=warning")[1]["logs"])
    for query in ("limit=0", "limit=1001", "level=loud", "after=x", "what=1"):
        assert rest.get("/api/logs?" + query)[0] == 400


def test_no_token_is_in_the_log(make_node):
    node = make_node(authenticated=True, web=True, web_port=0, log_level="debug").start()
    rest = Rest(port_of(node), token=node.token)
    assert rest.get("/api/status")[0] == 200
    assert node.token not in str(rest.get("/api/logs?limit=1000")[1])
