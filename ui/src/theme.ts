// SPDX-License-Identifier: Apache-2.0
import { Signal } from "./signal";

export type Theme = "auto" | "light" | "dark";

/** Counts up when the colours have changed, for what is drawn and not styled. */
export const themeChanged = new Signal(0);

const system = window.matchMedia("(prefers-color-scheme: dark)");

export const theme = (): Theme => (localStorage.getItem("theme") as Theme | null) ?? "auto";

function apply(): void {
  const wanted = theme();
  document.documentElement.dataset["theme"] = wanted === "auto" ? (system.matches ? "dark" : "light") : wanted;
  themeChanged.set(themeChanged.value + 1);
}

export function setTheme(wanted: Theme): void {
  localStorage.setItem("theme", wanted);
  apply();
}

system.addEventListener("change", apply);
apply();
