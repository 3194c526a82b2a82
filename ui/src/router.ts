// SPDX-License-Identifier: Apache-2.0
import { Signal } from "./signal";

export const place = new Signal(location.pathname + location.search);

export function go(to: string, replace = false): void {
  history[replace ? "replaceState" : "pushState"](null, "", to);
  place.set(to);
  window.scrollTo(0, 0);
}

window.addEventListener("popstate", () => place.set(location.pathname + location.search));
