// SPDX-License-Identifier: Apache-2.0
import { useState } from "preact/hooks";
import type { LogLine } from "../api";
import { time } from "../format";
import { t } from "../i18n";
import { useAsked } from "../live";
import { Empty, Failure } from "../parts";

const LEVELS = ["error", "warning", "info", "debug"] as const;

export function Logs() {
  const [level, setLevel] = useState<(typeof LEVELS)[number]>("info");
  const [live, setLive] = useState(true);
  const [search, setSearch] = useState("");
  const asked = useAsked<{ logs: LogLine[] }>(`/api/logs?limit=1000&level=${level}`, live ? 2000 : 0);
  const wanted = search.toLowerCase();
  const lines = asked.value?.logs.filter((line) => line.message.toLowerCase().includes(wanted)).reverse();
  if (asked.problem?.status === 403) return <Empty title={t("logs_denied")} />;
  return (
    <>
      <div class="title"><h1>{t("logs_title")}</h1></div>
      <div class="row wrap filters">
        <div class="tabs" role="group" aria-label={t("logs_level")}>
          {LEVELS.map((one) => <button key={one} aria-pressed={level === one} onClick={() => setLevel(one)}>{t(`logs_${one}`)}</button>)}
        </div>
        <input type="search" aria-label={t("logs_search")} placeholder={t("logs_search")} value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
        <label class="check"><input type="checkbox" checked={live} onChange={(event) => setLive(event.currentTarget.checked)} />{t("logs_live")}</label>
      </div>
      <section class="panel flush">
        {asked.problem && !asked.value ? <Failure problem={asked.problem} again={asked.again} />
          : !lines ? <p class="nothing">{t("loading")}</p>
          : !lines.length ? <Empty title={t("logs_none")} />
          : <ul class="nodelog">{lines.map((line) => (
              <li key={line.number} class={line.level.toLowerCase()}><time>{time(line.time_us)}</time><span class="level">{line.level}</span><span class="grow">{line.message}</span></li>
            ))}</ul>}
      </section>
    </>
  );
}
