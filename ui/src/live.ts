// SPDX-License-Identifier: Apache-2.0
// What the pages share of the node's state as it changes: whether it answers, what happens to tasks, and asking again and again.
import { useEffect, useRef, useState } from "preact/hooks";
import { get, Problem, type TaskEvent } from "./api";
import { Signal, type Listener } from "./signal";

export function useSignal<T>(signal: Signal<T>): T {
  const [value, setValue] = useState(signal.value);
  useEffect(() => signal.listen(setValue), [signal]);
  return value;
}

/** Whether the last request got an answer, of whatever kind. */
export const online = new Signal(true);
/** The last thing to say to the user; "" for nothing. */
export const notice = new Signal<{ text: string; bad: boolean }>({ text: "", bad: false });

export const say = (text: string): void => notice.set({ text, bad: false });
export function complain(text: string): void {
  notice.set({ text, bad: true });
}

export interface Asked<T> { value: T | undefined; problem: Problem | undefined; again: () => void }

/** Asks at once, every `ms` while the page is looked at, and whenever `again` is called. 0: once. */
export function useAsked<T>(path: string | undefined, ms: number): Asked<T> {
  const [state, setState] = useState<{ path?: string; value?: T; problem?: Problem }>({});
  const again = useRef<() => void>(() => undefined);
  useEffect(() => {
    if (!path) return undefined;
    let timer = 0;
    let gone = false;
    let asking = false;
    const ask = async (): Promise<void> => {
      window.clearTimeout(timer);
      if (asking) return;
      asking = true;
      let next: { path: string; value?: T; problem?: Problem };
      try {
        next = { path, value: await get<T>(path) };
        online.set(true);
      } catch (error) {
        const problem = error instanceof Problem ? error : new Problem(0, String(error));
        next = { path, problem };
        online.set(problem.status !== 0);
      }
      asking = false;
      if (gone) return;
      setState((before) => (next.problem && before.path === path && before.value !== undefined ? { ...next, value: before.value } : next));
      const wait = next.problem ? Math.max(ms, 2000) : ms;
      if (wait && (ms || next.problem?.status === 0)) timer = window.setTimeout(tick, wait);
    };
    const tick = (): void => {
      if (document.hidden) timer = window.setTimeout(tick, 1000);
      else void ask();
    };
    again.current = () => void ask();
    void ask();
    return () => {
      gone = true;
      window.clearTimeout(timer);
    };
  }, [path, ms]);
  const current = state.path === path ? state : {};
  return { value: current.value, problem: current.problem, again: () => again.current() };
}

/**
 * Whether the page is looked at. A browser has six connections for all tabs of a node together, so a page that nobody sees gives its streams back,
 * and so does one that was left and is only kept for the way back.
 */
export const visible = new Signal(!document.hidden);
document.addEventListener("visibilitychange", () => visible.set(!document.hidden));
window.addEventListener("pagehide", () => visible.set(false));
window.addEventListener("pageshow", () => visible.set(!document.hidden));

const taskListeners = new Set<Listener<TaskEvent>>();
let taskEvents: EventSource | undefined;
let lastEvent = 0;

visible.listen((seen) => {
  if (!seen) closeTaskEvents();
  else if (taskListeners.size && !taskEvents) openTaskEvents();
});

/** Calls back for everything that happens to tasks; one stream for the whole page, which comes back by itself. */
export function useTaskEvents(listener: Listener<TaskEvent>): void {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => {
    const own: Listener<TaskEvent> = (event) => latest.current(event);
    taskListeners.add(own);
    if (!taskEvents && visible.value) openTaskEvents();
    return () => {
      taskListeners.delete(own);
      if (taskListeners.size === 0) closeTaskEvents();
    };
  }, []);
}

function openTaskEvents(): void {
  const source = new EventSource(lastEvent ? `/api/events?after=${lastEvent}` : "/api/events");
  taskEvents = source;
  source.addEventListener("task", (message) => {
    const event = JSON.parse((message as MessageEvent<string>).data) as TaskEvent;
    lastEvent = event.number;
    taskListeners.forEach((listener) => listener(event));
  });
  /* What was missed cannot be had any more, or the right to see it has gone: from now on, or not at all. */
  source.addEventListener("failed", () => {
    source.close();
    lastEvent = 0;
    reopen(source);
  });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) reopen(source);
  };
}

function reopen(source: EventSource): void {
  if (taskEvents !== source) return;
  taskEvents = undefined;
  window.setTimeout(() => taskListeners.size && !taskEvents && visible.value && openTaskEvents(), 5000);
}

export function closeTaskEvents(): void {
  taskEvents?.close();
  taskEvents = undefined;
}

/** A number that changes every `ms`, for what shows how long ago something was. */
export function useTick(ms: number): number {
  const [n, setN] = useState(0);
  useEffect(() => {
    const timer = window.setInterval(() => setN((before) => before + 1), ms);
    return () => window.clearInterval(timer);
  }, [ms]);
  return n;
}
