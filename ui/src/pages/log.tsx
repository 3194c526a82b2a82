// SPDX-License-Identifier: Apache-2.0
// A task's output: pages of it as they are needed, what is new as it comes, and no more lines in the document than fit into view.
import { useEffect, useRef, useState } from "preact/hooks";
import { get, query, taskPath, type Chunk, type Task } from "../api";
import { t } from "../i18n";
import { useSignal, visible } from "../live";
import { attempt } from "../parts";

interface Line { stream: "stdout" | "stderr"; text: string }
type Only = "both" | "stdout" | "stderr";

const ROW = 20; /* pixels, as in the style sheet */
const MOST_LINES = 200000;
const LINE_MAX = 2000; /* characters of one line that are shown */

/** Lines out of chunks, which end anywhere. Each stream has a line of its own that is not over. */
class Lines {
  all: Line[] = [];
  dropped = false;
  private open: Record<"stdout" | "stderr", Line | undefined> = { stdout: undefined, stderr: undefined };
  add(chunk: Chunk): void {
    const parts = chunk.text.split("\n");
    parts.forEach((part, i) => {
      let line = this.open[chunk.stream];
      if (!line && (part !== "" || i < parts.length - 1)) {
        line = { stream: chunk.stream, text: "" };
        this.all.push(line);
      }
      if (line && line.text.length < LINE_MAX) line.text = (line.text + part.replace(/\r$/, "")).slice(0, LINE_MAX);
      this.open[chunk.stream] = i < parts.length - 1 ? undefined : line;
      if (i === parts.length - 1 && line) this.open[chunk.stream] = line;
    });
    if (this.all.length > MOST_LINES) {
      this.all = this.all.slice(-MOST_LINES / 2);
      this.dropped = true;
    }
  }
}

function useLog(task: Task): { lines: Lines; version: number; more: boolean; load: () => void } {
  const lines = useRef(new Lines());
  const offset = useRef(0);
  const loading = useRef(false);
  const [version, setVersion] = useState(0);
  const [more, setMore] = useState(true);
  const ended = ["COMPLETED", "FAILED", "STOPPED"].includes(task.state);
  const seen = useSignal(visible);
  const load = (): void => {
    if (loading.current) return;
    loading.current = true;
    void attempt(async () => {
      const page = await get<{ chunks: Chunk[]; next_offset: number }>(`${taskPath(task.task_id)}/log/chunks?${query([["offset", offset.current]])}`);
      page.chunks.forEach((chunk) => lines.current.add(chunk));
      setMore(page.next_offset !== offset.current && page.chunks.length > 0);
      offset.current = page.next_offset;
      setVersion((n) => n + 1);
    }).then(() => { loading.current = false; });
  };
  useEffect(() => {
    if (!ended) return undefined;
    load();
    return undefined;
  }, [ended]);
  useEffect(() => {
    if (ended || !seen || task.state === "QUEUED") return undefined;
    const source = new EventSource(`${taskPath(task.task_id)}/log/events?${query([["offset", offset.current]])}`);
    let drawn = 0;
    source.addEventListener("output", (message) => {
      const event = message as MessageEvent<string>;
      const chunk = JSON.parse(event.data) as Chunk;
      lines.current.add(chunk);
      offset.current = chunk.next_offset;
      if (!drawn) drawn = window.requestAnimationFrame(() => { drawn = 0; setVersion((n) => n + 1); });
    });
    source.addEventListener("end", () => source.close());
    source.addEventListener("failed", () => source.close());
    return () => {
      source.close();
      if (drawn) window.cancelAnimationFrame(drawn);
    };
  }, [task.state, task.attempt, seen]);
  return { lines: lines.current, version, more: more && ended, load };
}

export function Log({ task }: { task: Task }) {
  const { lines, version, more, load } = useLog(task);
  const [only, setOnly] = useState<Only>("both");
  const [search, setSearch] = useState("");
  const [follow, setFollow] = useState(true);
  const [top, setTop] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const wanted = search.toLowerCase();
  const shown = only === "both" && !wanted ? lines.all : lines.all.filter((line) => (only === "both" || line.stream === only) && (!wanted || line.text.toLowerCase().includes(wanted)));
  const ended = ["COMPLETED", "FAILED", "STOPPED"].includes(task.state);
  useEffect(() => {
    if (follow && !ended && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [version, follow]);
  const height = box.current?.clientHeight ?? 400;
  const first = Math.max(0, Math.floor(top / ROW) - 20);
  const last = Math.min(shown.length, Math.ceil((top + height) / ROW) + 20);
  const scrolled = (): void => {
    const at = box.current;
    if (!at) return;
    setTop(at.scrollTop);
    const end = at.scrollHeight - at.scrollTop - at.clientHeight < 4 * ROW;
    if (!ended) setFollow(end);
    if (end && more) load();
  };
  return (
    <section class="panel flush">
      <div class="row wrap logtools">
        <h2>{t("task_log")}</h2>
        <select aria-label={t("task_log")} value={only} onChange={(event) => setOnly(event.currentTarget.value as Only)}>
          {(["both", "stdout", "stderr"] as const).map((name) => <option key={name} value={name}>{t(`stream_${name}`)}</option>)}
        </select>
        <input type="search" aria-label={t("task_search")} placeholder={t("task_search")} value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
        {wanted && <span class="hint">{t("task_matches", { n: shown.length })}</span>}
        <span class="grow" />
        {!ended && <label class="check"><input type="checkbox" checked={follow} onChange={(event) => setFollow(event.currentTarget.checked)} />{t("task_follow")}</label>}
        {task.log_size > 0 && <a class="button small" href={`${taskPath(task.task_id)}/log`} download={`${task.task_id}.log`}>{t("task_download_log")}</a>}
      </div>
      {(task.log_truncated || lines.dropped) && <p class="hint inset">{task.log_truncated ? t("task_log_truncated") : t("task_log_dropped")}</p>}
      <div class="log" ref={box} onScroll={scrolled} tabIndex={0} role="log" aria-label={t("task_log")}>
        <div class="lines" style={{ height: `${shown.length * ROW}px` }}>
          {shown.slice(first, last).map((line, i) => (
            <div key={first + i} class={line.stream === "stderr" ? "line err" : "line"} style={{ top: `${(first + i) * ROW}px` }}>
              <span class="at">{first + i + 1}</span>{line.stream === "stderr" && <span class="unseen">{t("stream_stderr")}: </span>}<span class="text">{line.text}</span>
            </div>
          ))}
        </div>
        {!shown.length && <p class="nothing">{ended ? t("task_no_log") : t("task_no_log_yet")}</p>}
      </div>
      {more && <p class="hint inset">{t("task_log_more")} <button class="small" onClick={load}>{t("task_log_load")}</button></p>}
    </section>
  );
}
