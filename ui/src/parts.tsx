// SPDX-License-Identifier: Apache-2.0
// What several pages are made of.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Problem, send, taskPath, type Task } from "./api";
import { named, t } from "./i18n";
import { go } from "./router";
import { complain } from "./live";

export function Link(props: { to: string; class?: string; current?: boolean; children: ComponentChildren }) {
  return (
    <a href={props.to} class={props.class ?? ""} aria-current={props.current ? "page" : undefined}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        go(props.to);
      }}>
      {props.children}
    </a>
  );
}

export function why(error: unknown): string {
  if (error instanceof Problem) return error.status === 0 ? t("noAnswer") : error.message;
  return String(error);
}

/** Does something that may fail, and says so; false: it has failed. */
export async function attempt(action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    complain(t("failed", { why: why(error) }));
    return false;
  }
}

export function Badge({ task }: { task: Pick<Task, "state" | "paused" | "stopping"> }) {
  const ended = task.state === "COMPLETED" || task.state === "FAILED" || task.state === "STOPPED";
  const text = !ended && task.stopping ? t("state_stopping") : !ended && task.paused ? t("state_paused") : named("state_", task.state);
  return <span class={`badge ${!ended && task.paused ? "paused" : task.state.toLowerCase()}`}>{text}</span>;
}

export function Empty(props: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{props.title}</p>
      {props.children}
    </div>
  );
}

export function Failure({ problem, again }: { problem: Problem; again?: () => void }) {
  return (
    <div class="empty" role="alert">
      <p class="empty-title">{t("failed", { why: why(problem) })}</p>
      {again && <button onClick={again}>{t("retryNow")}</button>}
    </div>
  );
}

export function Field(props: { label: string; hint?: string; children: ComponentChildren }) {
  return (
    <label class="field">
      <span class="field-label">{props.label}</span>
      {props.children}
      {props.hint && <span class="hint">{props.hint}</span>}
    </label>
  );
}

interface Sure { text: string; yes: string; then: () => void }
let ask: (question: Sure) => void = () => undefined;

/** Asks the user in a dialog of the page. */
export const sure = (text: string, yes: string, then: () => void): void => ask({ text, yes, then });

export function SureDialog() {
  const [question, setQuestion] = useState<Sure>();
  const dialog = useRef<HTMLDialogElement>(null);
  ask = setQuestion;
  useEffect(() => {
    if (question && !dialog.current?.open) dialog.current?.showModal();
  }, [question]);
  const close = (): void => {
    dialog.current?.close();
    setQuestion(undefined);
  };
  return (
    <dialog ref={dialog} onClose={() => setQuestion(undefined)} aria-label={question?.yes ?? ""}>
      {question && (
        <>
          <p>{question.text}</p>
          <div class="row end">
            <button onClick={close}>{t("cancel")}</button>
            <button class="danger" onClick={() => { close(); question.then(); }}>{question.yes}</button>
          </div>
        </>
      )}
    </dialog>
  );
}

const ended = (task: Task): boolean => ["COMPLETED", "FAILED", "STOPPED"].includes(task.state);

/** What may be done with a task at present. */
export function TaskActions({ task, changed }: { task: Task; changed: () => void }) {
  const act = (what: string) => async (): Promise<void> => {
    await attempt(() => send("POST", `${taskPath(task.task_id)}/${what}`));
    changed();
  };
  const again = async (): Promise<void> => {
    await attempt(async () => {
      const made = await send<{ task_id: string }>("POST", `${taskPath(task.task_id)}/retry`, {});
      go(`/tasks/${encodeURIComponent(made.task_id)}`);
    });
  };
  if (ended(task)) return task.state === "COMPLETED" ? null : <div class="row"><button class="small" onClick={again}>{t("act_retry")}</button></div>;
  return (
    <div class="row">
      {task.paused
        ? <button class="small" onClick={act("resume")}>{t("act_resume")}</button>
        : <button class="small" onClick={act("pause")}>{t("act_pause")}</button>}
      <button class="small danger" onClick={() => sure(t("act_stop_sure", { id: task.task_id }), t("act_stop"), act("stop"))}>{t("act_stop")}</button>
    </div>
  );
}
