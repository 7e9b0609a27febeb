// Who can reach which service and route, why and since when; to be read, and to be downloaded.
import { html, useState } from "../vendor/preact-htm.js";
import { get, untilSome, usePages, useSettled } from "../api.js";
import { count, credential, csvLine, moment, number } from "../format.js";
import { Icon } from "../icons.js";
import { Badge, Card, Facts, Loaded, Page, Pager, Sentence, Table, Time, announce, download, userLink } from "../ui.js";

const PAGE = 500;
const FILTERS = [["user", "Person", "User name or id"], ["group", "ACL group", "Its whole name"], ["service", "Service", "Name or id"]];

const queryOf = (form) => ({
  at: form.at || null,
  user: form.user.trim() || null,
  group: form.group.trim() || null,
  service: form.service.trim() || null,
});

const COLUMNS = [
  { name: "Person", cell: (each) => html`<strong>${userLink(each.user, each.userName)}</strong>
    ${each.suspended && html` <${Badge} tone="warn">suspended<//>`}` },
  { name: "Service", cell: (each) => html`<code>${each.service}</code>` },
  { name: "Route", cell: (each) => html`<code>${each.route}</code>` },
  { name: "By group", cell: (each) => (each.by ? html`<code>${each.by}</code>` : html`<span class="muted">no group is needed</span>`) },
  { name: "Since", kind: "fit", cell: (each) => (each.since ? html`<${Time} at=${each.since} />` : html`<span class="muted">not known</span>`) },
  { name: "Granted by", cell: (each) => (each.grantedBy ? html`${each.grantedBy.actor}<div class="muted">request <code>${each.grantedBy.request}</code></div>` : html`<span class="muted">not known</span>`) },
  { name: "Credentials", cell: (each) => (each.credentials.length
    ? html`<ul class="reasons">${each.credentials.map((one) => html`<li>${credential(one.kind)}${one.created && html`, <${Time} at=${one.created} />`}${one.revoked && html`, revoked <${Time} at=${one.revoked} />`}</li>`)}</ul>`
    : html`<span class="muted">none</span>`) },
];

export function AccessReview() {
  const [form, setForm] = useState({ at: "", user: "", group: "", service: "" });
  const settled = useSettled(JSON.stringify(form), 350);
  const query = queryOf(JSON.parse(settled));
  const pages = usePages(
    (cursor, signal) => untilSome((place) => get("/AccessReview", { ...query, count: 50, cursor: place }, signal), "entries", cursor),
    (page) => page.next,
    [settled],
  );
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  return html`<${Page} title="Access review" intro="Who can reach which service and route, by which group, and since when." actions=${html`<${Downloads} query=${query} />`}>
    <form class="filters" onSubmit=${(event) => event.preventDefault()}>
      <label class="field">As of<input type="date" value=${form.at} onInput=${set("at")} /></label>
      ${FILTERS.map(([name, title, hint]) => html`<label class="field">${title}
        <input type="text" placeholder=${hint} value=${form[name]} onInput=${set(name)} autocomplete="off" spellcheck=${false} /></label>`)}
    </form>
    <${Loaded} of=${pages}>${(page) => html`<${Shown} page=${page} pages=${pages} />`}<//>
  <//>`;
}

function Shown({ page, pages }) {
  const begun = page.trail?.from;
  return html`
    <${NotJudged} of=${page.notJudged} />
    ${page.entries.length === 0
      ? html`<div class="empty"><p class="empty-title">Nobody reaches anything</p><p>No entry fits these filters.</p></div>`
      : html`<${Table} caption="Access" columns=${COLUMNS} rows=${page.entries} />`}
    <${Pager} pages=${pages} text=${`${count(page.lines, "line")}, ${count(page.people, "person", "people")} looked at${page.next ? " so far" : ""}`} />
    <${Card} title="Proof">
      <${Facts} of=${[
        ["Tenant", page.tenant],
        ["Moment", moment(page.moment)],
        ["Audit trail", html`${begun && `from ${moment(begun)}, `}<code class="hash">${page.trail?.hash}</code>`],
        page.next ? ["SHA-256", "on the last page, and in the download"] : ["SHA-256", html`<code class="hash">${page.sha256}</code>`],
        !page.next && ["Signature", page.signature ? html`<code class="hash">${page.signature}</code>` : html`<span class="muted">none: the tenant has no signing key</span>`],
      ]} />
    <//>
  `;
}

function NotJudged({ of }) {
  if (!of?.length) return null;
  return html`<section class="banner warn" aria-label="Not judged">
    <${Badge} tone="warn">Not judged<//>
    <ul>${of.map((each) => html`<li>${each.route && html`<code>${each.route}</code>${each.partly ? " (in part)" : ""}: `}<${Sentence} text=${each.reason} /></li>`)}</ul>
  </section>`;
}

/** Every page of the report as one. The last page has the numbers and the proof of the whole. */
async function whole(query, progress) {
  const entries = [];
  let page = null;
  do {
    page = await get("/AccessReview", { ...query, count: PAGE, cursor: page?.next });
    entries.push(...page.entries);
    progress(entries.length);
  } while (page.next);
  const { next, ...report } = page;
  const all = { version: 1, ...report, entries };
  return { ...all, content: await sha256(canonical(all)) };
}

/** The one form of a JSON value that is hashed: sorted names and no blanks. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`;
}

async function sha256(text) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((each) => each.toString(16).padStart(2, "0")).join("");
}

/** The bytes that `kong-scim access-review --format json` writes, so that its `verify` takes them. */
function jsonOf(report) {
  const escaped = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return `${JSON.stringify(report, null, 1).replace(/[\u007f-\uffff]/g, escaped)}\n`;
}

function csvOf(report) {
  const head = ["userName", "user", "consumer", "suspended", "service", "route", "by", "since", "grantedBy", "request", "credentials"];
  const lines = report.entries.map((each) => csvLine([
    each.userName, each.user, each.consumer, each.suspended, each.service, each.route, each.by, each.since,
    each.grantedBy?.actor, each.grantedBy?.request,
    each.credentials.map((one) => [one.kind, one.id, one.created && `of ${one.created}`, one.revoked && `revoked ${one.revoked}`].filter(Boolean).join(" ")).join("; "),
  ]));
  const notJudged = (report.notJudged ?? []).map((each) => csvLine(["", "", "", "", "", each.route, "", "", "", "", `${each.partly ? "judged in part" : "not judged"}: ${each.reason}`]));
  return [csvLine(head), ...lines, ...notJudged].join("");
}

function Downloads({ query }) {
  const [busy, setBusy] = useState(null);
  const save = async (format) => {
    setBusy(`Reading …`);
    try {
      const report = await whole(query, (many) => setBusy(`Reading, ${number(many)} lines …`));
      const name = `access-review-${report.tenant}-${report.moment.slice(0, 10)}.${format}`;
      if (format === "csv") download(name, "text/csv", csvOf(report));
      else download(name, "application/json", jsonOf(report));
      announce(`Saved ${name}.`);
    } catch (error) {
      announce(error.message);
    } finally {
      setBusy(null);
    }
  };
  if (busy) return html`<span class="muted" role="status">${busy}</span>`;
  return html`
    <button class="button" onClick=${() => save("csv")}><${Icon} name="download" />CSV</button>
    <button class="button" onClick=${() => save("json")}><${Icon} name="download" />JSON</button>
  `;
}
