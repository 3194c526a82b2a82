// SPDX-License-Identifier: Apache-2.0
import { useState } from "preact/hooks";
import { send, type History, type NodeStatus, type Session, type Summary, type Task } from "../api";
import { Chart } from "../chart";
import { ago, bytes, count, duration, percent, rate } from "../format";
import { t } from "../i18n";
import { useAsked, useTaskEvents } from "../live";
import { attempt, Badge, Empty, Failure, Link } from "../parts";
import { go } from "../router";

const SAMPLE = `import platform, time

print("Hello from", platform.node())
for step in range(5):
    print("step", step + 1, "of 5", flush=True)
    time.sleep(1)
result = {"answer": sum(range(10)), "python": platform.python_version()}
`;

function Figure(props: { title: string; value: string; hint?: string; tone?: string }) {
  return (
    <div class={`panel figure ${props.tone ?? ""}`}>
      <h2>{props.title}</h2>
      <p class="value">{props.value}</p>
      <p class="hint">{props.hint ?? "\u00a0"}</p>
    </div>
  );
}

function Figures({ node, summary }: { node: NodeStatus; summary: Summary | undefined }) {
  const ended = node.completed_tasks + node.failed_tasks;
  return (
    <div class="figures">
      <Figure title={t("dash_running")} value={count(node.running_tasks)} hint={t("dash_of", { n: count(node.max_concurrent_tasks) })} />
      <Figure title={t("dash_queued")} value={count(node.queued_tasks)} hint={t("dash_of", { n: count(node.max_queued_tasks) })} />
      <Figure title={t("dash_success")} value={ended ? percent(node.completed_tasks / ended) : "–"}
        hint={ended ? t("dash_success_hint", { completed: count(node.completed_tasks), failed: count(node.failed_tasks) }) : t("dash_none_yet")} />
      <Figure title={t("dash_disk")} value={bytes(node.disk_free_bytes)} hint={t("dash_free", { free: percent(node.disk_bytes ? node.disk_free_bytes / node.disk_bytes : 0), total: bytes(node.disk_bytes) })} />
      <Figure title={t("dash_gpu")} value={node.gpus.length ? String(node.gpus.length) : "–"} hint={node.gpus[0]?.name ?? t("dash_no_gpu")} />
      <Figure title={t("dash_trust")} value={summary?.trust_score == null ? "–" : String(summary.trust_score)} hint={summary?.trust_group ?? t("dash_trust_none")} />
    </div>
  );
}

function Sample() {
  const [working, setWorking] = useState(false);
  const run = async (): Promise<void> => {
    setWorking(true);
    await attempt(async () => {
      const made = await send<{ task_id: string }>("POST", "/api/v1/tasks", { task_type: "python", source: SAMPLE, labels: { sample: "yes" } });
      go(`/tasks/${encodeURIComponent(made.task_id)}`);
    });
    setWorking(false);
  };
  return <button class="main" onClick={run} disabled={working}>{working ? t("dash_sample_working") : t("dash_sample")}</button>;
}

const SERIES = ["cpu_busy_ratio", "memory_used_bytes", "memory_total_bytes", "network_receive_bytes_per_second", "network_transmit_bytes_per_second",
  "tasks_completed_per_second", "tasks_failed_per_second", "tasks_running", "tasks_queued"].map((name) => `series=${name}`).join("&");

export function Dashboard({ session }: { session: Session }) {
  const node = useAsked<NodeStatus>("/api/v1/node", 2000);
  const summary = useAsked<Summary>("/api/status", 10000);
  const history = useAsked<History>(`/api/history?max_points=300&${SERIES}`, 3000);
  const recent = useAsked<{ tasks: Task[] }>("/api/v1/tasks?page_size=8", 15000);
  useTaskEvents(() => recent.again());
  if (node.problem && !node.value) return <Failure problem={node.problem} again={node.again} />;
  if (!node.value) return <p class="nothing">{t("loading")}</p>;
  const status = node.value;
  const memory = history.value?.series.findIndex((one) => one.name === "memory_total_bytes") ?? -1;
  const total = history.value?.values[memory]?.reduce<number>((most, value) => Math.max(most, value ?? 0), 0) ?? 0;
  const may = session.role !== "viewer";
  return (
    <>
      <div class="title">
        <div>
          <h1>{status.node_id}</h1>
          <p class="hint">
            <span class={`dot ${status.state === "SERVING" ? "good" : "warn"}`} /> {status.state === "SERVING" ? t("dash_serving") : t("dash_draining")}
            {" · "}{t("dash_since", { version: status.version, time: duration(Math.max(Date.now() * 1000 - status.started_us, 0)) })}
          </p>
        </div>
        {may && <Sample />}
      </div>
      <Figures node={status} summary={summary.value} />
      <div class="charts">
        <Chart title={t("dash_cpu")} history={history.value} lines={[{ name: "cpu_busy_ratio", label: t("dash_cpu") }]} show={percent} max={1} fixed />
        <Chart title={t("dash_memory")} history={history.value} lines={[{ name: "memory_used_bytes", label: t("dash_memory") }]} show={bytes} binary max={total} fixed={total > 0} />
        <Chart title={t("dash_network")} history={history.value} show={rate} binary max={10240}
          lines={[{ name: "network_receive_bytes_per_second", label: t("dash_received") }, { name: "network_transmit_bytes_per_second", label: t("dash_sent") }]} />
        <Chart title={t("dash_per_minute")} history={history.value} show={(n) => count(Math.round(n))} max={10}
          lines={[{ name: "tasks_completed_per_second", label: t("state_COMPLETED"), scale: 60 }, { name: "tasks_failed_per_second", label: t("state_FAILED"), scale: 60 }]} />
      </div>
      {status.warnings.length > 0 && (
        <section class="panel">
          <h2>{t("dash_warnings")}</h2>
          <ul class="plain">{status.warnings.map((warning) => <li key={warning}>{warning}</li>)}</ul>
        </section>
      )}
      <section class="panel">
        <div class="row between"><h2>{t("dash_recent")}</h2><Link to="/tasks">{t("dash_all")}</Link></div>
        <Recent tasks={recent.value?.tasks} />
      </section>
    </>
  );
}

function Recent({ tasks }: { tasks: Task[] | undefined }) {
  if (!tasks) return <p class="nothing">{t("loading")}</p>;
  if (!tasks.length) return <Empty title={t("dash_empty_title")}><p class="hint">{t("dash_empty_text")}</p></Empty>;
  return (
    <ul class="list">
      {tasks.map((task) => (
        <li key={task.task_id}>
          <Badge task={task} />
          <Link to={`/tasks/${encodeURIComponent(task.task_id)}`} class="id">{task.task_id}</Link>
          <span class="grow hint">{task.state === "FAILED" ? task.message : task.task_type}</span>
          <span class="hint">{ago(task.created_us)}</span>
        </li>
      ))}
    </ul>
  );
}

