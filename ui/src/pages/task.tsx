// SPDX-License-Identifier: Apache-2.0
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { getText, query, taskPath, type Attempt, type StoredFile, type Task } from "../api";
import { bytes, count, duration, time } from "../format";
import { named, t } from "../i18n";
import { useAsked, useTaskEvents } from "../live";
import { Badge, Empty, Failure, Link, TaskActions, why } from "../parts";
import { Log } from "./log";

const SHOWN_RESULT = 256 * 1024;

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return <div class="fact"><dt>{name}</dt><dd>{children}</dd></div>;
}

const spoken = (name: string): string => name.toLowerCase().replace(/_/g, " ");

function Details({ task }: { task: Task }) {
  const usage = task.usage;
  return (
    <section class="panel">
      <h2>{t("task_details")}</h2>
      <dl class="facts">
        <Fact name={t("task_created")}>{time(task.created_us)}</Fact>
        <Fact name={t("task_started")}>{time(task.started_us)}</Fact>
        <Fact name={t("task_finished")}>{time(task.finished_us)}</Fact>
        {usage && <Fact name={t("task_wall")}>{duration(usage.wall_us)}</Fact>}
        {usage && <Fact name={t("task_cpu")}>{duration(usage.user_us + usage.system_us)}</Fact>}
        {usage && <Fact name={t("task_memory")}>{bytes(usage.peak_memory_bytes || usage.max_rss_bytes)}</Fact>}
        {usage && <Fact name={t("task_io")}>{bytes(usage.read_bytes)} / {bytes(usage.written_bytes)}</Fact>}
        {usage && <Fact name={t("task_processes")}>{count(usage.processes)}</Fact>}
        {task.finished_us > 0 && <Fact name={t("task_exit")}>{task.exit_code}</Fact>}
        {task.signal > 0 && <Fact name={t("task_signal")}>{task.signal}</Fact>}
        <Fact name={t("task_owner")}>{task.owner || "–"}</Fact>
        {task.retry_of && <Fact name={t("task_retry_of")}><Link to={`/tasks/${encodeURIComponent(task.retry_of)}`}>{task.retry_of}</Link></Fact>}
        {Object.keys(task.labels).length > 0 && <Fact name={t("task_labels")}>{Object.entries(task.labels).map(([key, value]) => <span class="label" key={key}>{key}={value}</span>)}</Fact>}
      </dl>
    </section>
  );
}

function ReceiptPanel({ task }: { task: Task }) {
  const receipt = task.receipt;
  if (!receipt || receipt.runtime === "RUNTIME_NONE") return null;
  return (
    <section class="panel">
      <h2>{t("task_receipt")}</h2>
      <dl class="facts">
        <Fact name={t("task_runtime")}>{spoken(receipt.runtime)}</Fact>
        <Fact name={t("task_network")}>{named("net_", receipt.network)}</Fact>
        <Fact name={t("task_denied")}>{receipt.denied ? `${count(receipt.denied)} (${receipt.denied_calls})` : t("task_none")}</Fact>
        {receipt.missing.length > 0 && <Fact name={t("task_missing")}>{receipt.missing.map(spoken).join(", ")}</Fact>}
      </dl>
      <p class="hint">{t("task_layers")}: {receipt.layers.map(spoken).join(", ")}</p>
    </section>
  );
}

function Result({ task }: { task: Task }) {
  const [text, setText] = useState<string>();
  const ended = ["COMPLETED", "FAILED", "STOPPED"].includes(task.state);
  const fits = ended && task.result_size > 0 && task.result_size <= SHOWN_RESULT;
  useEffect(() => {
    if (!fits) return;
    getText(`${taskPath(task.task_id)}/result`).then((got) => setText(pretty(got)), (error: unknown) => setText(t("failed", { why: why(error) })));
  }, [fits]);
  return (
    <section class="panel">
      <div class="row between">
        <h2>{t("task_result")}</h2>
        {ended && task.result_size > 0 && <a class="button small" href={`${taskPath(task.task_id)}/result`} download={`${task.task_id}.result`}>{t("task_download_result")}</a>}
      </div>
      {!ended ? <p class="hint">{t("task_result_later")}</p>
        : task.result_size === 0 ? <p class="hint">{t("task_no_result")}</p>
        : fits ? <pre class="result">{text ?? t("loading")}</pre>
        : <p class="hint">{t("task_result_large", { size: bytes(task.result_size) })}</p>}
    </section>
  );
}

function pretty(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    /* Numbers that JavaScript would round are better shown as they came. */
    return /\d{16}/.test(text) ? text : JSON.stringify(value, null, 2);
  } catch {
    return text;
  }
}

function Attempts({ task }: { task: Task }) {
  const asked = useAsked<{ attempts: Attempt[] }>(task.attempt > 1 ? `${taskPath(task.task_id)}/attempts?${query([])}` : undefined, 0);
  if (task.attempt <= 1) return null;
  return (
    <section class="panel">
      <h2>{t("task_attempts")}</h2>
      <ul class="list">
        {asked.value?.attempts.map((one) => (
          <li key={one.attempt}><span>{t("task_attempt_n", { n: one.attempt })}</span><span class="grow hint">{one.message}</span><span class="hint">{time(one.started_us)} · {duration(one.finished_us - one.started_us)}</span></li>
        ))}
      </ul>
    </section>
  );
}

function Files({ task }: { task: Task }) {
  const asked = useAsked<{ files: StoredFile[] }>(
    task.finished_us && (task.usage?.outputs ?? 0) > 0 ? `/api/v1/files?${query([["prefix", `${task.task_id}/`], ["user_id", task.owner], ["page_size", 200]])}` : undefined, 0);
  if (!task.outputs.length) return null;
  return (
    <section class="panel">
      <h2>{t("task_files")}</h2>
      {asked.problem && <p class="hint">{why(asked.problem)}</p>}
      {asked.value?.files.length ? (
        <ul class="list">{asked.value.files.map((file) => <li key={file.file_id}><a class="grow id" href={`/api/v1/files/${encodeURIComponent(file.file_id)}/content?${query([["user_id", task.owner]])}`} download>{file.filename.slice(task.task_id.length + 1)}</a><span class="hint">{bytes(file.size)}</span></li>)}</ul>
      ) : <p class="hint">{t("task_no_files")}</p>}
    </section>
  );
}

export function TaskPage({ id }: { id: string }) {
  const asked = useAsked<{ task: Task }>(taskPath(id), 5000);
  useTaskEvents((event) => event.task_id === id && asked.again());
  if (asked.problem?.status === 404) return <Empty title={t("task_gone")}><p><Link to="/tasks">{t("tasks_title")}</Link></p></Empty>;
  if (asked.problem && !asked.value) return <Failure problem={asked.problem} again={asked.again} />;
  if (!asked.value) return <p class="nothing">{t("loading")}</p>;
  const task = asked.value.task;
  return (
    <>
      <div class="title">
        <div>
          <h1 class="id">{task.task_id}</h1>
          <p class="hint"><Badge task={task} /> {task.task_type}{task.message && task.state !== "QUEUED" ? ` · ${task.message}` : ""}</p>
        </div>
        <TaskActions task={task} changed={asked.again} />
      </div>
      {task.error && <section class="panel"><h2>{t("task_traceback")}</h2><pre class="result">{task.error}</pre></section>}
      <Log task={task} />
      <div class="two">
        <Result task={task} />
        <Details task={task} />
      </div>
      <Attempts task={task} />
      <Files task={task} />
      <ReceiptPanel task={task} />
    </>
  );
}
