// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, useState } from "preact/hooks";
import { ACTIVE, ENDED, get, query, type State, type Task } from "../api";
import { ago, duration, time } from "../format";
import { t } from "../i18n";
import { useAsked, useTaskEvents, useTick } from "../live";
import { attempt, Badge, Empty, Failure, Field, Link, TaskActions } from "../parts";
import { go } from "../router";

interface Page { tasks: Task[]; next_page_token: string }
type Tab = "active" | "waiting" | "ended" | "all";

const STATES: Record<Tab, State[]> = { active: ACTIVE, waiting: ["QUEUED"], ended: ENDED, all: [] };
const TABS: [Tab, "tasks_active" | "tasks_waiting" | "tasks_history" | "tasks_all"][] =
  [["all", "tasks_all"], ["active", "tasks_active"], ["waiting", "tasks_waiting"], ["ended", "tasks_history"]];

function waits(task: Task): string {
  if (task.paused) return t("why_paused");
  if (task.not_before_us * 1 > Date.now() * 1000) return t("why_later", { when: ago(task.not_before_us) });
  return t("why_busy");
}

function spent(task: Task): string {
  if (task.finished_us && task.started_us) return duration(task.finished_us - task.started_us);
  if (task.started_us) return duration(Math.max(Date.now() * 1000 - task.started_us, 0));
  return "–";
}

export function TaskTable({ tasks, changed }: { tasks: Task[]; changed: () => void }) {
  useTick(1000);
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr><th>{t("tasks_state")}</th><th>{t("tasks_id")}</th><th>{t("tasks_type")}</th><th>{t("tasks_owner")}</th><th>{t("tasks_when")}</th><th>{t("tasks_time")}</th><th><span class="unseen">{t("tasks_actions")}</span></th></tr>
        </thead>
        <tbody>
          {tasks.map((task) => (
            <tr key={task.task_id}>
              <td><Badge task={task} /></td>
              <td class="id"><Link to={`/tasks/${encodeURIComponent(task.task_id)}`}>{task.task_id}</Link>
                {task.state === "FAILED" && <span class="hint block">{task.message}</span>}
                {task.state === "QUEUED" && <span class="hint block">{waits(task)}</span>}
                {Object.entries(task.labels).map(([key, value]) => <span class="label" key={key}>{key}={value}</span>)}</td>
              <td>{task.task_type}</td>
              <td>{task.owner || "–"}</td>
              <td title={time(task.created_us)}>{ago(task.created_us)}</td>
              <td class="number">{spent(task)}</td>
              <td class="actions"><TaskActions task={task} changed={changed} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Tasks({ path }: { path: string }) {
  const asked = new URLSearchParams(path.split("?")[1] ?? "");
  const tab = (TABS.find(([name]) => name === asked.get("show"))?.[0] ?? "all") as Tab;
  const type = asked.get("type") ?? "";
  const label = asked.get("label") ?? "";
  const address = `/api/v1/tasks?${query([["page_size", 50], ["task_type", type], ["labels", label], ...STATES[tab].map((state): [string, string] => ["states", state])])}`;
  const first = useAsked<Page>(address, 15000);
  const [more, setMore] = useState<{ address: string; tasks: Task[]; next: string }>({ address: "", tasks: [], next: "" });
  const pending = useRef(0);
  const older = more.address === address ? more : undefined;
  /* Many events come at once under load: one look is enough for all of them. */
  useTaskEvents(() => {
    if (!pending.current) pending.current = window.setTimeout(() => { pending.current = 0; first.again(); }, 300);
  });
  useEffect(() => () => window.clearTimeout(pending.current), []);
  const show = (changes: Record<string, string>): void => {
    const next = new URLSearchParams(asked);
    Object.entries(changes).forEach(([name, value]) => (value ? next.set(name, value) : next.delete(name)));
    go(`/tasks${next.size ? `?${next}` : ""}`);
  };
  const next = older ? older.next : first.value?.next_page_token;
  const loadMore = (): Promise<boolean> => attempt(async () => {
    const page = await get<Page>(`${address}&${query([["page_token", next]])}`);
    setMore({ address, tasks: [...(older?.tasks ?? []), ...page.tasks], next: page.next_page_token });
  });
  const seen = new Set(first.value?.tasks.map((task) => task.task_id));
  const tasks = [...(first.value?.tasks ?? []), ...(older?.tasks.filter((task) => !seen.has(task.task_id)) ?? [])];
  return (
    <>
      <div class="title"><h1>{t("tasks_title")}</h1><Link to="/new" class="button main">{t("tasks_new")}</Link></div>
      <div class="row wrap filters">
        <div class="tabs">
          {TABS.map(([name, text]) => <button key={name} aria-pressed={tab === name} onClick={() => show({ show: name === "all" ? "" : name })}>{t(text)}</button>)}
        </div>
        <form class="row wrap" onSubmit={(event) => { event.preventDefault(); const data = new FormData(event.currentTarget); show({ type: String(data.get("type") ?? ""), label: String(data.get("label") ?? "").trim() }); }}>
          <Field label={t("tasks_type")}>
            <select name="type" value={type}>
              <option value="">{t("tasks_any")}</option>
              {["python", "shell", "package", "function"].map((name) => <option key={name}>{name}</option>)}
            </select>
          </Field>
          <Field label={t("tasks_label")}><input name="label" placeholder={t("tasks_label_hint")} pattern="[^=]+=.*" value={label} /></Field>
          <button type="submit">{t("tasks_filter")}</button>
        </form>
        <form class="row" onSubmit={(event) => { event.preventDefault(); const id = String(new FormData(event.currentTarget).get("id") ?? "").trim(); if (id) go(`/tasks/${encodeURIComponent(id)}`); }}>
          <Field label={t("tasks_goto")}><input name="id" /></Field>
          <button type="submit">{t("tasks_go")}</button>
        </form>
      </div>
      <section class="panel flush">
        {first.problem && !first.value ? <Failure problem={first.problem} again={first.again} />
          : !first.value ? <p class="nothing">{t("loading")}</p>
          : tasks.length ? <TaskTable tasks={tasks} changed={first.again} />
          : <Empty title={type || label ? t("tasks_none_filtered") : t("tasks_none")} />}
        {next && <p class="more"><button onClick={() => void loadMore()}>{t("tasks_more")}</button></p>}
      </section>
    </>
  );
}
