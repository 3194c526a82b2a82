// SPDX-License-Identifier: Apache-2.0
import { useState } from "preact/hooks";
import type { History } from "../api";
import { Chart } from "../chart";
import { bytes, count, percent, rate } from "../format";
import { t } from "../i18n";
import { useAsked } from "../live";
import { Failure } from "../parts";

const RANGES = [["mon_15m", 890, 3000], ["mon_6h", 6 * 3600 - 60, 15000], ["mon_24h", 24 * 3600, 60000], ["mon_7d", 7 * 86400, 60000], ["mon_30d", 30 * 86400 - 600, 60000]] as const;
const NAMES = ["cpu_user_ratio", "cpu_system_ratio", "cpu_iowait_ratio", "cpu_steal_ratio", "core_busy_ratio", "load_1m", "load_5m", "load_15m",
  "memory_used_bytes", "memory_total_bytes", "memory_allocated_bytes", "swap_used_bytes", "disk_total_bytes", "disk_free_bytes", "device_read_bytes_per_second", "device_write_bytes_per_second",
  "disk_read_bytes_per_second", "disk_write_bytes_per_second", "network_receive_bytes_per_second", "network_transmit_bytes_per_second",
  "interface_receive_bytes_per_second", "pressure_cpu_some_ratio", "pressure_memory_some_ratio", "pressure_io_some_ratio", "temperature_celsius", "tasks_running", "tasks_queued"]
  .map((name) => `series=${name}`).join("&");

const most = (history: History | undefined, name: string): number => {
  const i = history?.series.findIndex((series) => series.name === name) ?? -1;
  return history?.values[i]?.reduce<number>((high, value) => Math.max(high, value ?? 0), 0) ?? 0;
};

interface Health { checks: Record<string, { status: string; message: string }> }

export function Monitor() {
  const [range, setRange] = useState<(typeof RANGES)[number]>(RANGES[0]);
  /* The beginning moves with the time, in steps that are small beside the range. */
  const step = Math.max(1, Math.floor(range[1] / 300)) * 1e6;
  const [from] = [Math.floor((Date.now() * 1000 - range[1] * 1e6) / step) * step + step];
  const asked = useAsked<History>(`/api/history?max_points=600&${range === RANGES[0] ? "" : `from_us=${from}&`}${NAMES}`, range[2]);
  const health = useAsked<Health>("/health", 30000);
  const [kept, setKept] = useState<History>();
  if (asked.value && asked.value !== kept) setKept(asked.value);
  const history = asked.value ?? kept;
  if (asked.problem && !history) return <Failure problem={asked.problem} again={asked.again} />;
  return (
    <>
      <div class="title">
        <h1>{t("mon_title")}</h1>
        <div class="tabs" role="group" aria-label={t("mon_range")}>
          {RANGES.map((one) => <button key={one[0]} aria-pressed={range === one} onClick={() => setRange(one)}>{t(one[0])}</button>)}
        </div>
      </div>
      <div class="charts">
        <Chart title={t("mon_cpu")} history={history} show={percent} max={1} fixed
          lines={[{ name: "cpu_user_ratio", label: "user" }, { name: "cpu_system_ratio", label: "system" }, { name: "cpu_iowait_ratio", label: "iowait" }, { name: "cpu_steal_ratio", label: "steal" }]} />
        <Chart title={t("mon_cores")} history={history} lines="core_busy_ratio" show={percent} max={1} fixed />
        <Chart title={t("mon_memory")} history={history} show={bytes} binary max={most(history, "memory_total_bytes")} fixed={most(history, "memory_total_bytes") > 0}
          lines={[{ name: "memory_used_bytes", label: t("mon_memory") }, { name: "memory_allocated_bytes", label: t("mon_tasks") }, { name: "swap_used_bytes", label: t("mon_swap") }]} />
        <Chart title={t("mon_load")} history={history} show={(n) => n.toFixed(1)} max={1} lines={[{ name: "load_1m", label: "1 min" }, { name: "load_5m", label: "5 min" }, { name: "load_15m", label: "15 min" }]} />
        <Chart title={t("mon_network")} history={history} show={rate} binary max={10240}
          lines={[{ name: "network_receive_bytes_per_second", label: t("dash_received") }, { name: "network_transmit_bytes_per_second", label: t("dash_sent") }]} />
        <Chart title={t("mon_interfaces")} history={history} lines="interface_receive_bytes_per_second" show={rate} binary max={10240} empty={t("mon_not_here")} />
        <Chart title={t("mon_disk")} history={history} show={bytes} binary max={most(history, "disk_total_bytes")} lines={[{ name: "disk_free_bytes", label: t("mon_disk") }]} />
        <Chart title={t("mon_disk_io")} history={history} show={rate} binary max={10240} lines={[{ name: "disk_read_bytes_per_second", label: "read" }, { name: "disk_write_bytes_per_second", label: "write" }]} />
        <Chart title={t("mon_pressure")} history={history} show={percent} max={0.1} empty={t("mon_not_here")}
          lines={[{ name: "pressure_cpu_some_ratio", label: t("mon_cpu") }, { name: "pressure_memory_some_ratio", label: t("mon_memory") }, { name: "pressure_io_some_ratio", label: t("mon_disk") }]} />
        <Chart title={t("mon_temperature")} history={history} lines="temperature_celsius" show={(n) => `${Math.round(n)} °C`} max={60} empty={t("mon_not_here")} />
        <Chart title={t("mon_tasks")} history={history} show={count} max={4} lines={[{ name: "tasks_running", label: t("dash_running") }, { name: "tasks_queued", label: t("dash_queued") }]} />
      </div>
      <section class="panel">
        <ul class="list">
          {Object.entries(health.value?.checks ?? {}).map(([name, check]) => (
            <li key={name}><span class={`dot ${check.status === "healthy" ? "good" : "bad"}`} /><span>{name}</span><span class="grow hint">{check.message}</span></li>
          ))}
        </ul>
      </section>
    </>
  );
}
