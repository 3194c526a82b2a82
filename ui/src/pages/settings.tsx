// SPDX-License-Identifier: Apache-2.0
import { useState } from "preact/hooks";
import { send, type AuditRecord, type NodeStatus, type Session, type Storage, type Token, type User } from "../api";
import { bytes, count, time } from "../format";
import { t } from "../i18n";
import { say, useAsked } from "../live";
import { attempt, Failure, Field, sure } from "../parts";

const ROLES = ["VIEWER", "SUBMITTER", "OPERATOR", "ADMIN"];
const value = (form: HTMLFormElement, name: string): string => String(new FormData(form).get(name) ?? "");

function Password() {
  const change = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    if (await attempt(() => send("POST", "/api/v1/password", { old_password: value(form, "old"), new_password: value(form, "new") }))) {
      form.reset();
      say(t("set_saved"));
    }
  };
  return (
    <form class="panel" onSubmit={change}>
      <h2>{t("set_password")}</h2>
      <Field label={t("set_old")}><input name="old" type="password" autocomplete="current-password" /></Field>
      <Field label={t("set_new")} hint={t("set_new_hint")}><input name="new" type="password" autocomplete="new-password" required minLength={10} /></Field>
      <button type="submit">{t("set_save")}</button>
    </form>
  );
}

function Tokens() {
  const asked = useAsked<{ tokens: Token[] }>("/api/v1/tokens", 0);
  const [secret, setSecret] = useState("");
  const make = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    await attempt(async () => {
      const made = await send<{ secret: string }>("POST", "/api/v1/tokens", { token_name: value(form, "name"), lifetime_ms: Math.round(Number(value(form, "days")) * 86400000) });
      setSecret(made.secret);
      form.reset();
    });
    asked.again();
  };
  const revoke = (token: Token): void => sure(t("set_revoke_sure", { name: token.name }), t("set_revoke"), () => {
    void attempt(() => send("DELETE", `/api/v1/tokens/${encodeURIComponent(token.token_id)}`)).then(asked.again);
  });
  const live = asked.value?.tokens.filter((token) => !token.revoked_us && (!token.expires_us || token.expires_us > Date.now() * 1000)).reverse();
  return (
    <section class="panel">
      <h2>{t("set_sessions")}</h2>
      {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
      <div class="scroll">
        <table>
          <thead><tr><th>{t("set_name")}</th><th>{t("set_role")}</th><th>{t("set_made")}</th><th>{t("set_used")}</th><th>{t("set_expires")}</th><th><span class="unseen">{t("tasks_actions")}</span></th></tr></thead>
          <tbody>
            {live?.map((token) => (
              <tr key={token.token_id}><td class="id">{token.name}</td><td>{token.role.toLowerCase()}</td><td>{time(token.created_us)}</td>
                <td>{token.used_us ? time(token.used_us) : t("set_never")}</td><td>{token.expires_us ? time(token.expires_us) : t("set_never")}</td>
                <td class="actions"><button class="small danger" onClick={() => revoke(token)}>{t("set_revoke")}</button></td></tr>
            ))}
          </tbody>
        </table>
      </div>
      {secret && <p role="status">{t("set_token_once")} <code class="secret">{secret}</code> <button class="small" onClick={() => void navigator.clipboard.writeText(secret).then(() => say(t("copied")))}>{t("copy")}</button></p>}
      <form class="row wrap" onSubmit={make}>
        <Field label={t("set_token_name")}><input name="name" required maxLength={64} /></Field>
        <Field label={t("set_token_days")}><input name="days" type="number" min="0.01" max="3650" step="any" value="30" required /></Field>
        <button type="submit">{t("set_make")}</button>
      </form>
    </section>
  );
}

function Users({ own }: { own: string }) {
  const asked = useAsked<{ users: User[] }>("/api/v1/users?page_size=1000", 0);
  const add = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    await attempt(async () => {
      await send("POST", "/api/v1/users", { name: value(form, "name"), role: value(form, "role") });
      if (value(form, "password")) await send("POST", "/api/v1/password", { user: value(form, "name"), new_password: value(form, "password") });
      form.reset();
    });
    asked.again();
  };
  const change = (user: User, body: object): void => void attempt(() => send("PATCH", `/api/v1/users/${encodeURIComponent(user.name)}`, body)).then(asked.again);
  const remove = (user: User): void => sure(t("set_remove_sure", { name: user.name }), t("set_remove"), () => {
    void attempt(() => send("DELETE", `/api/v1/users/${encodeURIComponent(user.name)}`)).then(asked.again);
  });
  return (
    <section class="panel">
      <h2>{t("set_users")}</h2>
      {asked.problem && <Failure problem={asked.problem} again={asked.again} />}
      <div class="scroll">
        <table>
          <thead><tr><th>{t("set_name")}</th><th>{t("set_role")}</th><th>{t("set_made")}</th><th><span class="unseen">{t("tasks_actions")}</span></th></tr></thead>
          <tbody>
            {asked.value?.users.map((user) => (
              <tr key={user.name}>
                <td class="id">{user.name} {user.disabled && <span class="badge failed">{t("set_disabled")}</span>}{user.has_password && <span class="hint block">{t("set_has_password")}</span>}</td>
                <td><select aria-label={`${t("set_role")}: ${user.name}`} value={user.role} disabled={user.name === own} onChange={(event) => change(user, { role: event.currentTarget.value })}>{ROLES.map((role) => <option key={role} value={role}>{role.toLowerCase()}</option>)}</select></td>
                <td>{time(user.created_us)}</td>
                <td class="actions">{user.name !== own && <div class="row">
                  <button class="small" onClick={() => change(user, { set_disabled: true, disabled: !user.disabled })}>{user.disabled ? t("set_enable") : t("set_disable")}</button>
                  <button class="small danger" onClick={() => remove(user)}>{t("set_remove")}</button></div>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <form class="row wrap" onSubmit={add}>
        <Field label={t("login_user")}><input name="name" required pattern="[a-z][a-z0-9._@\-]{0,63}" autocomplete="off" /></Field>
        <Field label={t("set_role")}><select name="role" value="SUBMITTER">{ROLES.map((role) => <option key={role} value={role} selected={role === "SUBMITTER"}>{role.toLowerCase()}</option>)}</select></Field>
        <Field label={t("login_password")}><input name="password" type="password" minLength={10} autocomplete="new-password" /></Field>
        <button type="submit">{t("set_add_user")}</button>
      </form>
    </section>
  );
}

function Audit() {
  const asked = useAsked<{ records: AuditRecord[] }>("/api/v1/audit?limit=50", 10000);
  return (
    <section class="panel">
      <h2>{t("set_audit")}</h2>
      {asked.problem && !asked.value && <Failure problem={asked.problem} again={asked.again} />}
      <div class="scroll">
        <table>
          <thead><tr><th>{t("tasks_when")}</th><th>{t("set_who")}</th><th>{t("set_what")}</th><th>{t("set_from")}</th><th>{t("set_outcome")}</th></tr></thead>
          <tbody>
            {asked.value?.records.map((record) => (
              <tr key={record.seq}><td>{time(record.time_us)}</td><td>{record.user || "–"}</td><td class="id">{record.action} {record.object}</td><td class="number">{record.from}</td>
                <td><span class={`badge ${record.outcome === "OK" ? "completed" : "failed"}`}>{record.outcome.toLowerCase()}</span></td></tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

export function Settings({ session }: { session: Session }) {
  const node = useAsked<NodeStatus>("/api/v1/node", 10000);
  const storage = useAsked<Storage>("/api/v1/storage", 0);
  return (
    <>
      <div class="title"><h1>{t("set_title")}</h1></div>
      {session.login ? <><Tokens /><Password />{session.role === "admin" && <><Users own={session.user} /><Audit /></>}</> : <section class="panel"><p>{t("set_open")}</p></section>}
      <section class="panel">
        <h2>{t("set_node")}</h2>
        <dl class="facts">
          <div class="fact"><dt>{t("set_node")}</dt><dd>{node.value?.node_id}</dd></div>
          <div class="fact"><dt>Version</dt><dd>{node.value?.version}</dd></div>
          {storage.value && <div class="fact"><dt>{t("set_storage")}</dt><dd>{t("set_files", { n: count(storage.value.files), size: bytes(storage.value.bytes), max: bytes(storage.value.max_bytes) })}</dd></div>}
        </dl>
        <h3>{t("set_warnings")}</h3>
        {node.value?.warnings.length ? <ul class="plain">{node.value.warnings.map((warning) => <li key={warning}>{warning}</li>)}</ul> : <p class="hint">{t("set_no_warnings")}</p>}
        <p class="hint">{t("set_config")}</p>
      </section>
    </>
  );
}
