// SPDX-License-Identifier: Apache-2.0
import { en, type Texts } from "./lang/en";
import { zhTW } from "./lang/zh-TW";

export const languages: Record<string, Texts> = { en, "zh-TW": zhTW };

function remembered(): string {
  const kept = localStorage.getItem("language");
  if (kept && languages[kept]) return kept;
  return navigator.languages.some((name) => /^zh\b/i.test(name)) ? "zh-TW" : "en";
}

let current = remembered();
document.documentElement.lang = current;

export const language = (): string => current;

/** The pages are drawn anew by whoever calls this. */
export function setLanguage(name: string): void {
  current = name;
  localStorage.setItem("language", name);
  document.documentElement.lang = name;
}

export function t(key: keyof Texts, values: Record<string, string | number> = {}): string {
  const text = (languages[current] ?? en)[key];
  return text.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

/** A text that depends on a name which the node says: the name itself where there is none. */
export function named(prefix: string, name: string): string {
  const key = `${prefix}${name}` as keyof Texts;
  return (languages[current] ?? en)[key] ?? name;
}
