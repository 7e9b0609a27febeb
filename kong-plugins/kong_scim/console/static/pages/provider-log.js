// Every request of the identity provider in the last days.
import { html, useState } from "../vendor/preact-htm.js";
import { get, usePages } from "../api.js";
import { moment, number } from "../format.js";
import { Icon } from "../icons.js";
import { Badge, Choice, Loaded, Page, Pager, Table, Time } from "../ui.js";

const tone = (status) => (status >= 500 ? "bad" : status >= 400 ? "warn" : "ok");

function What({ request }) {
  return html`<div>
    <code>${request.method} ${request.path}</code>
    ${request.error && html`<p class="sentence">${request.error}</p>`}
    <details>
      <summary>Details</summary>
      <dl class="facts">
        <div><dt>Time</dt><dd>${moment(request.at)}</dd></div>
        <div><dt>Number in the log</dt><dd><code>${request.id}</code></dd></div>
      </dl>
      ${request.body !== null && request.body !== undefined
        ? html`<pre tabindex="0">${request.body}</pre>`
        : html`<p class="muted">The body was not kept. Bodies of failed requests are kept where requests.keep_bodies is true.</p>`}
    </details>
  </div>`;
}

const COLUMNS = [
  { name: "Time", kind: "fit", cell: (each) => html`<${Time} at=${each.at} />` },
  { name: "Status", kind: "fit", cell: (each) => html`<${Badge} tone=${tone(each.status)}>${each.status}<//>` },
  { name: "Request", cell: (each) => html`<${What} request=${each} />` },
  { name: "Token", cell: (each) => html`${each.token ?? html`<span class="muted">none</span>`}${each.provider && html`<div class="muted">${each.provider}</div>`}` },
  { name: "Duration", kind: "number", cell: (each) => `${number(Math.round(each.milliseconds))} ms` },
];

export function ProviderLog() {
  const [which, setWhich] = useState("all");
  const pages = usePages(
    (before, signal) => get("/Requests", { failed: which === "failed" ? "true" : null, count: 50, before }, signal),
    (page) => page.next,
    [which],
  );
  const empty = which === "failed"
    ? { title: "No request has failed", text: "Nothing was refused in the days that the log keeps." }
    : { title: "There are no requests", text: "The provider has sent nothing in the days that the log keeps.", icon: "log" };
  const reload = html`<button class="button" onClick=${pages.reload}><${Icon} name="reload" />Refresh</button>`;
  return html`<${Page} title="Provider log" intro="What the identity provider asked for, and what it was answered." actions=${reload}>
    <div class="tools"><${Choice} label="Which requests" value=${which} onChange=${setWhich} options=${[["all", "All"], ["failed", "Failed"]]} /></div>
    <${Loaded} of=${pages} empty=${empty} isEmpty=${(page) => page.requests.length === 0 && pages.number === 1}>
      ${(page) => html`
        <${Table} caption="Requests" columns=${COLUMNS} rows=${page.requests} rowKey=${(each) => each.id} />
        <${Pager} pages=${pages} />
      `}
    <//>
  <//>`;
}
