// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, useState } from "preact/hooks";
import { Problem, send } from "../api";
import { t } from "../i18n";
import { Field, why } from "../parts";

export function Login({ expired, entered }: { expired: boolean; entered: () => void }) {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const [working, setWorking] = useState(false);
  const [wrong, setWrong] = useState("");
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => first.current?.focus(), []);
  const login = async (event: Event): Promise<void> => {
    event.preventDefault();
    setWorking(true);
    setWrong("");
    try {
      await send("POST", "/login", { user, password });
      entered();
    } catch (error) {
      const problem = error instanceof Problem ? error : new Problem(0, String(error));
      setWrong(problem.status === 401 ? t("login_wrong") : problem.status === 429 ? t("login_wait", { seconds: problem.retrySeconds }) : t("failed", { why: why(error) }));
      setPassword("");
    }
    setWorking(false);
  };
  return (
    <form class="panel login" onSubmit={login}>
      <h1>{t("login_title")}</h1>
      {expired && !wrong && <p class="hint" role="status">{t("login_expired")}</p>}
      <Field label={t("login_user")}>
        <input ref={first} name="user" autocomplete="username" required value={user} onInput={(event) => setUser(event.currentTarget.value)} />
      </Field>
      <Field label={t("login_password")}>
        <input name="password" type="password" autocomplete="current-password" required value={password} onInput={(event) => setPassword(event.currentTarget.value)} />
      </Field>
      <p class="wrong" role="alert">{wrong}</p>
      <button class="main" type="submit" disabled={working}>{working ? t("login_working") : t("login_button")}</button>
      <p class="hint">{t("login_hint")}</p>
    </form>
  );
}
