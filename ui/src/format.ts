// SPDX-License-Identifier: Apache-2.0
import { language, t } from "./i18n";

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(n: number): string {
  let i = 0;
  while (n >= 1024 && i < BYTES.length - 1) {
    n /= 1024;
    i++;
  }
  return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${BYTES[i]}`;
}

export const rate = (n: number): string => `${bytes(n)}/s`;
export const percent = (ratio: number): string => `${Math.round(ratio * 100)} %`;
export const count = (n: number): string => n.toLocaleString(language());

export function duration(us: number): string {
  const seconds = us / 1e6;
  if (seconds < 1) return `${Math.round(us / 1000)} ${t("unit_ms")}`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} ${t("unit_s")}`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} ${t("unit_m")} ${Math.floor(seconds % 60)} ${t("unit_s")}`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} ${t("unit_h")} ${minutes % 60} ${t("unit_m")}`;
  return `${Math.floor(hours / 24)} ${t("unit_d")} ${hours % 24} ${t("unit_h")}`;
}

export function time(us: number): string {
  if (!us) return "–";
  return new Date(us / 1000).toLocaleString(language(), { dateStyle: "medium", timeStyle: "medium" });
}

export function ago(us: number): string {
  const past = Date.now() * 1000 - us;
  if (Math.abs(past) < 2e6) return t("now");
  return past > 0 ? t("ago", { time: duration(coarse(past)) }) : t("in", { time: duration(coarse(-past)) });
}

/** Without the parts that would change at every look. */
function coarse(us: number): number {
  const unit = us < 60e6 ? 1e6 : us < 3600e6 ? 60e6 : 3600e6;
  return Math.floor(us / unit) * unit;
}
