// SPDX-License-Identifier: Apache-2.0
import { useState } from "preact/hooks";
import { send } from "../api";
import { t } from "../i18n";
import { attempt, Field } from "../parts";
import { go } from "../router";
import { complain } from "../live";

const MOST_BYTES = 11 * 1024 * 1024; /* as base64 that is what a request may have */
const NETWORKS = ["NETWORK_DEFAULT", "NETWORK_NONE", "NETWORK_LOOPBACK", "NETWORK_HOST"] as const;

const lines = (text: string): string[] => text.split("\n").map((line) => line.replace(/\r$/, "")).filter((line) => line !== "");

function pairs(text: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const line of lines(text)) {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(t("submit_bad_line", { line }));
    found[line.slice(0, at)] = line.slice(at + 1);
  }
  return found;
}

function base64(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",")[1] ?? "");
    reader.onerror = () => reject(reader.error ?? new Error(file.name));
    reader.readAsDataURL(file);
  });
}

async function bodyOf(data: FormData, file: File | undefined): Promise<Record<string, unknown>> {
  const text = (name: string): string => String(data.get(name) ?? "");
  const number = (name: string): number => Number(text(name) || 0);
  const body: Record<string, unknown> = { task_type: text("type") };
  if (file) body["task_data"] = await base64(file);
  else body["source"] = text("source");
  if (text("task_id").trim()) body["task_id"] = text("task_id").trim();
  if (number("timeout")) body["timeout_ms"] = Math.round(number("timeout") * 1000);
  if (number("priority")) body["priority"] = number("priority");
  if (number("retries")) body["retries"] = number("retries");
  if (text("args")) body["args"] = lines(text("args"));
  body["env"] = pairs(text("env"));
  body["labels"] = pairs(text("labels"));
  body["network"] = text("network");
  body["limits"] = { memory_bytes: Math.round(number("memory") * 1024 * 1024), cpu_millis: Math.round(number("cpu") * 1000) };
  return body;
}

export function Submit() {
  const [type, setType] = useState("python");
  const [source, setSource] = useState("print(\"Hello\")\nresult = 6 * 7\n");
  const [file, setFile] = useState<File>();
  const [working, setWorking] = useState(false);
  const [key] = useState(() => `web-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`);
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    if (file && file.size > MOST_BYTES) return complain(t("submit_too_large"));
    if (!file && (type === "package" || !source.trim())) return complain(t("submit_no_source"));
    setWorking(true);
    await attempt(async () => {
      const body = await bodyOf(new FormData(form), file);
      const made = await send<{ task_id: string }>("POST", "/api/v1/tasks", body, body["task_id"] ? {} : { "Idempotency-Key": `${key}-${JSON.stringify(body).length}-${await hash(body)}` });
      go(`/tasks/${encodeURIComponent(made.task_id)}`);
    });
    setWorking(false);
  };
  return (
    <form class="submit" onSubmit={submit}>
      <div class="title"><h1>{t("submit_title")}</h1></div>
      <section class="panel">
        <Field label={t("submit_type")}>
          <select name="type" value={type} onChange={(event) => setType(event.currentTarget.value)}>
            <option value="python">{t("submit_python")}</option>
            <option value="shell">{t("submit_shell")}</option>
            <option value="package">{t("submit_package")}</option>
          </select>
        </Field>
        {type !== "package" && (
          <Field label={t("submit_source")}>
            <textarea name="source" rows={14} spellcheck={false} class="code" value={source} disabled={!!file} onInput={(event) => setSource(event.currentTarget.value)} onKeyDown={indent} />
          </Field>
        )}
        <Field label={type === "package" ? t("submit_choose") : t("submit_file")} hint={t("submit_too_large")}>
          <input type="file" onChange={(event) => setFile(event.currentTarget.files?.[0])} />
        </Field>
      </section>
      <details class="panel">
        <summary>{t("submit_options")}</summary>
        <div class="grid">
          <Field label={t("submit_id")} hint={t("submit_id_hint")}><input name="task_id" maxLength={128} /></Field>
          <Field label={t("submit_timeout")}><input name="timeout" type="number" min="0.001" step="any" placeholder={t("submit_default")} /></Field>
          <Field label={t("submit_memory")}><input name="memory" type="number" min="1" step="any" placeholder={t("submit_default")} /></Field>
          <Field label={t("submit_cpu")}><input name="cpu" type="number" min="0.01" step="any" placeholder={t("submit_default")} /></Field>
          <Field label={t("submit_priority")}><input name="priority" type="number" min="-100" max="100" placeholder="0" /></Field>
          <Field label={t("submit_retries")}><input name="retries" type="number" min="0" placeholder="0" /></Field>
          <Field label={t("submit_network")}>
            <select name="network">{NETWORKS.map((name) => <option key={name} value={name}>{t(`net_${name}`)}</option>)}</select>
          </Field>
          <Field label={t("submit_args")}><textarea name="args" rows={3} class="code" /></Field>
          <Field label={t("submit_env")}><textarea name="env" rows={3} class="code" /></Field>
          <Field label={t("submit_labels")}><textarea name="labels" rows={3} class="code" /></Field>
        </div>
      </details>
      <p><button class="main" type="submit" disabled={working}>{working ? t("submit_working") : t("submit_button")}</button></p>
    </form>
  );
}

/** Short and good enough to tell two forms apart: the key only has to differ where the task does. */
async function hash(value: unknown): Promise<string> {
  let sum = 2166136261;
  for (const letter of JSON.stringify(value)) sum = Math.imul(sum ^ (letter.codePointAt(0) ?? 0), 16777619);
  return (sum >>> 0).toString(16);
}

/** Tab indents in an editor; Escape first, then Tab, leaves it. */
let leaving = false;
function indent(event: KeyboardEvent): void {
  const area = event.currentTarget as HTMLTextAreaElement;
  if (event.key === "Escape") leaving = true;
  if (event.key !== "Tab" || event.shiftKey || leaving) {
    leaving = event.key === "Escape";
    return;
  }
  event.preventDefault();
  area.setRangeText("    ", area.selectionStart, area.selectionEnd, "end");
  area.dispatchEvent(new Event("input", { bubbles: true }));
}
