// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import type { History } from "./api";
import { language, t } from "./i18n";
import { themeChanged } from "./theme";
import { useSignal } from "./live";

export interface Line { name: string; label: string; scale?: number }
interface ChartProps {
  title: string;
  history: History | undefined;
  lines: Line[] | string; /* of a series that is there once for each device: its name */
  show: (value: number) => string;
  max?: number; /* the axis goes from 0 to at least this */
  fixed?: boolean; /* and no further */
  binary?: boolean; /* the axis is divided by powers of two */
  empty?: string;
}

const COLORS = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"];
const HEIGHT = 184; /* pixels; what has no legend has its room as well */
const LEGEND = 28;
const POWERS = Array.from({ length: 50 }, (_, i) => 2 ** i);
const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The columns of what is wanted, in the order of `lines`; those that the machine never told are left out. */
function pick(history: History, lines: Line[] | string): { labels: string[]; columns: (number | null)[][] } {
  const labels: string[] = [];
  const columns: (number | null)[][] = [];
  history.series.forEach((series, i) => {
    const line = typeof lines === "string" ? undefined : lines.find((one) => one.name === series.name);
    if (!line && series.name !== lines) return;
    const values = history.values[i] ?? [];
    if (!values.some((value) => value !== null)) return;
    labels.push(line?.label ?? series.label ?? series.name);
    columns.push(line?.scale ? values.map((value) => (value === null ? null : value * (line.scale ?? 1))) : values);
  });
  return { labels, columns };
}

function options(props: ChartProps, labels: string[], width: number): uPlot.Options {
  const axis = { stroke: css("--text-2"), grid: { stroke: css("--rule"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  return {
    width,
    height: labels.length > 1 && labels.length <= 6 ? HEIGHT : HEIGHT + LEGEND,
    padding: [12, 24, 0, 0],
    legend: { show: labels.length > 1 && labels.length <= 6 },
    cursor: { points: { size: 6 }, drag: { x: false, y: false } },
    scales: {
      x: { time: true },
      y: { range: (_, __, high) => [0, props.fixed ? (props.max ?? 1) : Math.max(high ?? 0, props.max ?? 0) || 1] },
    },
    axes: [
      { ...axis, size: 28, space: 80, values: (_, splits) => splits.map((at) => clock(at, (splits[splits.length - 1] ?? 0) - (splits[0] ?? 0))) },
      { ...axis, size: 74, ...(props.binary ? { incrs: POWERS } : {}), values: (_, splits) => splits.map((value) => props.show(value)) },
    ],
    series: [
      { value: (_, at) => (at ? new Date(at * 1000).toLocaleTimeString(language(), { hourCycle: "h23" }) : "") },
      ...labels.map((label, i) => ({
        label,
        stroke: css(COLORS[i % COLORS.length] ?? ""),
        width: 1.5,
        points: { show: false },
        value: (_: uPlot, value: number | null) => (value === null ? "–" : props.show(value)),
        ...(labels.length === 1 ? { fill: css("--line-fill") } : {}),
      })),
    ],
  };
}

function clock(at: number, span: number): string {
  const date = new Date(at * 1000);
  return span > 36 * 3600
    ? date.toLocaleDateString(language(), { month: "short", day: "numeric" })
    : date.toLocaleTimeString(language(), { hourCycle: "h23", hour: "2-digit", minute: "2-digit", ...(span < 600 ? { second: "2-digit" } : {}) });
}

/** What a screen reader is told: the newest value of each line. */
function spoken(props: ChartProps, labels: string[], columns: (number | null)[][]): string {
  return labels.map((label, i) => {
    const known = (columns[i] ?? []).filter((value): value is number => value !== null);
    return `${label} ${known.length ? props.show(known[known.length - 1] ?? 0) : "–"}`;
  }).join(", ");
}

export function Chart(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>();
  const [width, setWidth] = useState(0);
  const theme = useSignal(themeChanged);
  const { labels, columns } = props.history ? pick(props.history, props.lines) : { labels: [], columns: [] };
  const key = `${labels.join("\n")}|${theme}|${language()}`;
  const at = props.history?.at_us.map((us) => us / 1e6) ?? [];
  useEffect(() => {
    const observer = new ResizeObserver((entries) => setWidth(Math.floor(entries[0]?.contentRect.width ?? 0)));
    if (box.current) observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (!box.current || !width || !labels.length) return undefined;
    const made = new uPlot(options(props, labels, width), [at, ...columns] as uPlot.AlignedData, box.current);
    plot.current = made;
    return () => {
      made.destroy();
      plot.current = undefined;
    };
  }, [key, width > 0]);
  useEffect(() => {
    plot.current?.setData([at, ...columns] as uPlot.AlignedData);
  }, [props.history]);
  useEffect(() => {
    if (width) plot.current?.setSize({ width, height: plot.current.height });
  }, [width]);
  return (
    <section class="panel chart">
      <h2>{props.title}</h2>
      <div class="plot" ref={box} role="img" aria-label={`${props.title}: ${spoken(props, labels, columns)}`}>
        {props.history && !labels.length && <p class="nothing">{props.empty ?? t("mon_no_data")}</p>}
      </div>
    </section>
  );
}
