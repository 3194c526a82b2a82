// SPDX-License-Identifier: Apache-2.0
// The node's REST interface, with the shapes that the pages use of it.

export interface Session { login: boolean; user: string; role: string; expires_us: number }

export interface NodeStatus {
  node_id: string; version: string; state: string; started_us: number;
  max_concurrent_tasks: number; running_tasks: number; queued_tasks: number; max_queued_tasks: number;
  accepted_tasks: number; completed_tasks: number; failed_tasks: number; stopped_tasks: number;
  warnings: string[]; cpu_millis: number; cpu_millis_allocated: number; memory_bytes: number; memory_bytes_allocated: number;
  gpus: Gpu[]; disk_bytes: number; disk_free_bytes: number; cache_hits: number; cache_misses: number; last_event: number;
}
export interface Gpu { name: string; uuid: string; memory_bytes: number; memory_bytes_allocated: number; tasks: number; whole: boolean }
export interface Summary { cpu_percent: number; memory_percent: number; trust_score: number | null; trust_group: string | null }

export interface Usage {
  wall_us: number; user_us: number; system_us: number; peak_memory_bytes: number; max_rss_bytes: number; read_bytes: number;
  written_bytes: number; processes: number; workspace_bytes: number; outputs: number; output_bytes: number;
}
export interface Limits { memory_bytes: number; cpu_millis: number; cpu_time_us: number; processes: number }
export interface Receipt {
  runtime: string; layers: string[]; missing: string[]; network: string; denied: number; denied_calls: string; limits?: Limits;
}
export interface Task {
  task_id: string; task_type: string; owner: string; state: State; reason: string; message: string; error: string; exit_code: number;
  signal: number; attempt: number; retries: number; timeout_ms: number; created_us: number; started_us: number; finished_us: number;
  result_size: number; log_size: number; log_truncated: boolean; usage?: Usage; receipt?: Receipt; priority: number; not_before_us: number;
  labels: Record<string, string>; paused: boolean; stopping: boolean; retry_of: string; after: { task_id: string; state: State }[];
  network: string; outputs: string[];
}
export interface Attempt {
  attempt: number; reason: string; message: string; started_us: number; finished_us: number; exit_code: number; signal: number;
}
export type State = "QUEUED" | "ALLOCATED" | "PREPARING" | "RUNNING" | "COMPLETED" | "FAILED" | "STOPPED";
export const ACTIVE: State[] = ["ALLOCATED", "PREPARING", "RUNNING"];
export const ENDED: State[] = ["COMPLETED", "FAILED", "STOPPED"];

export interface TaskEvent { number: number; time_us: number; kind: string; task_id: string }
export interface Chunk { stream: "stdout" | "stderr"; time_us: number; next_offset: number; text: string }
export interface Series { name: string; unit: string; help: string; label?: string }
export interface History { now_us: number; series: Series[]; at_us: number[]; step_us: number[]; values: (number | null)[][] }
export interface LogLine { number: number; time_us: number; level: string; message: string }
export interface User { name: string; role: string; disabled: boolean; has_password: boolean; created_us: number; tokens: number }
export interface Token {
  token_id: string; name: string; user: string; role: string; created_us: number; expires_us: number; used_us: number; revoked_us: number;
}
export interface AuditRecord { seq: number; time_us: number; user: string; from: string; action: string; object: string; outcome: string }
export interface StoredFile { file_id: string; filename: string; size: number; modified_us: number }
export interface Storage { files: number; bytes: number; blob_bytes: number; max_bytes: number }

/** What went wrong: the sentence of the node, or that there was none. */
export class Problem extends Error {
  constructor(readonly status: number, detail: string, readonly retrySeconds = 0) {
    super(detail);
  }
}

let onLoggedOut: () => void = () => undefined;
/** Called whenever the node says that nobody is logged in (any more). */
export function whenLoggedOut(then: () => void): void {
  onLoggedOut = then;
}

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      cache: "no-store",
    });
  } catch {
    throw new Problem(0, "");
  }
  if (answer.ok) return answer;
  let detail = answer.statusText;
  try {
    const problem = await answer.json();
    detail = String(problem.detail ?? problem.error ?? detail);
  } catch {
    /* no JSON: the status has to do */
  }
  if (answer.status === 401 && path !== "/login") onLoggedOut();
  throw new Problem(answer.status, detail, Number(answer.headers.get("Retry-After") ?? 0));
}

export async function get<T>(path: string): Promise<T> {
  return (await call("GET", path)).json();
}
export async function getText(path: string): Promise<string> {
  return (await call("GET", path)).text();
}
export async function send<T>(method: "POST" | "PATCH" | "DELETE", path: string, body?: unknown, headers?: Record<string, string>): Promise<T> {
  return (await call(method, path, body, headers)).json();
}

export const taskPath = (id: string): string => `/api/v1/tasks/${encodeURIComponent(id)}`;

export function query(parameters: [string, string | number | undefined][]): string {
  const pairs = parameters.filter(([, value]) => value !== undefined && value !== "");
  return pairs.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join("&");
}
