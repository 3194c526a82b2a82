// SPDX-License-Identifier: Apache-2.0
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { get, Problem, send, whenLoggedOut, type Session } from "./api";
import { language, languages, setLanguage, t } from "./i18n";
import { closeTaskEvents, notice, online, useSignal } from "./live";
import { attempt, Empty, Link, SureDialog } from "./parts";
import { go, place } from "./router";
import { setTheme, theme, type Theme } from "./theme";
import { Login } from "./pages/login";
import { Dashboard } from "./pages/dashboard";
import { Tasks } from "./pages/tasks";
import { Submit } from "./pages/submit";
import { TaskPage } from "./pages/task";
import { Monitor } from "./pages/monitor";
import { Logs } from "./pages/logs";
import { Settings } from "./pages/settings";

function Page({ path, session }: { path: string; session: Session }) {
  const [route = ""] = path.split("?");
  if (route === "/" || route === "/dashboard") return <Dashboard session={session} />;
  if (route === "/tasks") return <Tasks path={path} />;
  if (route === "/new") return <Submit />;
  if (route.startsWith("/tasks/")) return <TaskPage key={route} id={decode(route.slice("/tasks/".length))} />;
  if (route === "/monitor") return <Monitor />;
  if (route === "/logs") return <Logs />;
  if (route === "/settings") return <Settings session={session} />;
  return <Empty title={t("notFoundTitle")}><p>{t("notFoundText")}</p><p><Link to="/dashboard">{t("toDashboard")}</Link></p></Empty>;
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

const PAGES = [["/dashboard", "nav_dashboard"], ["/tasks", "nav_tasks"], ["/monitor", "nav_monitor"], ["/logs", "nav_logs"], ["/settings", "nav_settings"]] as const;

function Header(props: { path: string; session: Session | undefined; redraw: () => void; loggedOut: () => void }) {
  const here = props.path === "/" ? "/dashboard" : props.path === "/new" ? "/tasks" : props.path;
  const logout = async (): Promise<void> => {
    if (await attempt(() => send("POST", "/logout"))) props.loggedOut();
  };
  return (
    <header>
      <a class="skip" href="#content">{t("skip")}</a>
      <Link to="/dashboard" class="brand"><Mark />{t("appName")}</Link>
      {props.session && (
        <nav aria-label={t("menu")}>
          {PAGES.map(([to, text]) => <Link key={to} to={to} current={here === to || here.startsWith(`${to}/`) || here.startsWith(`${to}?`)}>{t(text)}</Link>)}
        </nav>
      )}
      <div class="tools">
        <select aria-label={t("theme")} value={theme()} onChange={(event) => { setTheme(event.currentTarget.value as Theme); props.redraw(); }}>
          <option value="auto">{t("theme_auto")}</option>
          <option value="light">{t("theme_light")}</option>
          <option value="dark">{t("theme_dark")}</option>
        </select>
        <select aria-label={t("chooseLanguage")} value={language()} onChange={(event) => { setLanguage(event.currentTarget.value); props.redraw(); }}>
          {Object.entries(languages).map(([name, texts]) => <option key={name} value={name} lang={name}>{texts.language}</option>)}
        </select>
        {props.session && (props.session.login
          ? <><span class="who">{t("loggedInAs", { user: props.session.user, role: props.session.role })}</span><button class="small" onClick={logout}>{t("logout")}</button></>
          : <span class="who">{t("openNode")}</span>)}
      </div>
    </header>
  );
}

function Mark() {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
      <path d="M12 2l8.7 5v10L12 22l-8.7-5V7z" fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round" />
      <circle cx="12" cy="12" r="3" fill="currentColor" />
    </svg>
  );
}

function Notices() {
  const connected = useSignal(online);
  const said = useSignal(notice);
  useEffect(() => {
    if (!said.text || said.bad) return undefined;
    const timer = window.setTimeout(() => notice.set({ text: "", bad: false }), 5000);
    return () => window.clearTimeout(timer);
  }, [said]);
  return (
    <div class="notices" aria-live="polite">
      {!connected && <p class="notice bad">{t("offline")}</p>}
      {said.text && <p class={said.bad ? "notice bad" : "notice"}>{said.text}<button class="small" onClick={() => notice.set({ text: "", bad: false })}>{t("close")}</button></p>}
    </div>
  );
}

function App() {
  const path = useSignal(place);
  const [session, setSession] = useState<Session>();
  const [state, setState] = useState<"asking" | "in" | "out" | "expired">("asking");
  const [, redraw] = useState(0);
  const enter = async (): Promise<void> => {
    try {
      setSession(await get<Session>("/api/session"));
      setState("in");
      online.set(true);
      if (place.value.startsWith("/login")) go("/dashboard", true);
    } catch (error) {
      if (error instanceof Problem && error.status === 401) {
        setState((before) => (before === "asking" ? "out" : before));
        return;
      }
      online.set(!(error instanceof Problem && error.status === 0));
      window.setTimeout(() => void enter(), 2000);
    }
  };
  useEffect(() => {
    whenLoggedOut(() => {
      closeTaskEvents();
      setSession(undefined);
      setState((before) => (before === "in" ? "expired" : before === "asking" ? "out" : before));
    });
    void enter();
  }, []);
  useEffect(() => {
    document.title = `${pageName(path)} – ${t("appName")}`;
  });
  const loggedOut = (): void => {
    closeTaskEvents();
    setSession(undefined);
    setState("out");
    go("/login", true);
  };
  return (
    <>
      <Header path={path} session={session} redraw={() => redraw((n) => n + 1)} loggedOut={loggedOut} />
      <Notices />
      <main id="content" tabIndex={-1}>
        {state === "in" && session ? <Page path={path} session={session} />
          : state === "asking" ? <p class="nothing">{t("loading")}</p>
          : <Login expired={state === "expired"} entered={() => void enter()} />}
      </main>
      <SureDialog />
    </>
  );
}

function pageName(path: string): string {
  const found = PAGES.find(([to]) => path === to || path.startsWith(`${to}/`) || path.startsWith(`${to}?`));
  return path === "/login" ? t("login_title") : t(found ? found[1] : "nav_dashboard");
}

const root = document.getElementById("app");
if (root) render(<App />, root);
