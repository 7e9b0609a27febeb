// The parts that pages are made of.
import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { ago, moment } from "./format.js";
import { Icon } from "./icons.js";

export function Page({ title, intro, actions, back, children }) {
  const heading = useRef(null);
  useEffect(() => {
    document.title = `${title} · Kong SCIM`;
  }, [title]);
  return html`
    <header class="page-head">
      <div>
        ${back && html`<a class="back" href=${back.href}><${Icon} name="back" />${back.text}</a>`}
        <h1 tabindex="-1" ref=${heading}>${title}</h1>
        ${intro && html`<p class="intro">${intro}</p>`}
      </div>
      ${actions && html`<div class="actions">${actions}</div>`}
    </header>
    ${children}
  `;
}

/** The states of something that is loaded: an error with its sentence, nothing yet, or nothing there. */
export function Loaded({ of, empty, isEmpty, children }) {
  if (of.error) return html`<${Failure} error=${of.error} retry=${of.reload} />`;
  if (!of.data) return html`<${Waiting} />`;
  if (isEmpty?.(of.data)) return html`<${Empty} ...${empty} />`;
  return html`<div aria-busy=${of.loading ? "true" : "false"} class=${of.loading ? "reloading" : ""}>${children(of.data)}</div>`;
}

function Waiting() {
  return html`<div class="waiting" role="status">
    <span class="hidden">Loading</span>
    <div class="bone wide"></div><div class="bone"></div><div class="bone narrow"></div>
  </div>`;
}

export function Empty({ title, text, icon = "check" }) {
  return html`<div class="empty">
    <span class="empty-icon"><${Icon} name=${icon} /></span>
    <p class="empty-title">${title}</p>
    ${text && html`<p>${text}</p>`}
  </div>`;
}

const TITLES = {
  401: "The gateway does not accept the token",
  403: "The token may not do this",
  404: "This is not there",
  409: "This cannot be done now",
};

function titleOf(error) {
  if (error.ofConsole) {
    if (error.status === 0) return "The console was stopped";
    if (error.status === 401) return "The session has ended";
    return "The gateway cannot be reached";
  }
  return TITLES[error.status] ?? (error.status >= 500 ? "The gateway failed" : "The gateway refused this");
}

function adviceOf(error) {
  if (error.ofConsole) return null;
  if (error.status === 401) return "Stop kong-scim console and start it again with a token that is valid.";
  if (error.status === 403) return "The console needs a token with the scope scim:admin.";
  return null;
}

export function Failure({ error, retry }) {
  const advice = adviceOf(error);
  return html`<div class="failure" role="alert">
    <span class="failure-icon"><${Icon} name="warning" /></span>
    <div>
      <p class="failure-title">${titleOf(error)}</p>
      <p><${Sentence} text=${error.message} /></p>
      ${advice && html`<p>${advice}</p>`}
      ${retry && html`<button class="button" onClick=${retry}>Try again</button>`}
    </div>
  </div>`;
}

export function Card({ title, tone, actions, children, wide }) {
  const id = `card-${title.replace(/\W+/g, "-").toLowerCase()}`;
  return html`<section class=${`card${tone ? ` tone-${tone}` : ""}${wide ? " span" : ""}`} aria-labelledby=${id}>
    <div class="card-head"><h2 id=${id}>${title}</h2>${actions}</div>
    ${children}
  </section>`;
}

const MARKS = { ok: "check", warn: "warning", bad: "cross" };

/** A state in a word: its colour never says it alone. */
export function Badge({ tone = "plain", children }) {
  return html`<span class=${`badge ${tone}`}>${MARKS[tone] && html`<${Icon} name=${MARKS[tone]} />`}${children}</span>`;
}

export function Time({ at }) {
  if (!at) return html`<span class="muted">never</span>`;
  return html`<time datetime=${at} title=${moment(at)}>${ago(at)}</time>`;
}

/**
 * A table that becomes a list of cards on a narrow screen, where CSS takes the roles from its
 * elements: so they are named.
 * A column: {name, cell(row), kind: "number" | "fit" | undefined, hidden: its name is not shown}.
 */
export function Table({ caption, columns, rows, rowKey }) {
  return html`<div class="table-box">
    <table role="table" aria-label=${caption}>
      <thead role="rowgroup">
        <tr role="row">
          ${columns.map((each) => html`<th role="columnheader" scope="col" class=${each.kind ?? ""}>
            ${each.hidden ? html`<span class="hidden">${each.name}</span>` : each.name}
          </th>`)}
        </tr>
      </thead>
      <tbody role="rowgroup">
        ${rows.map((row, index) => html`<tr role="row" key=${rowKey ? rowKey(row) : index}>
          ${columns.map((each) => html`<td role="cell" class=${each.kind ?? ""}>
            ${!each.hidden && html`<span class="label" aria-hidden="true">${each.name}</span>`}
            <div class="value">${each.cell(row)}</div>
          </td>`)}
        </tr>`)}
      </tbody>
    </table>
  </div>`;
}

/** Leads to the pages before and after. `text` says what is shown. */
export function Pager({ pages, text }) {
  if (!pages.previous && !pages.next) return text ? html`<p class="pager-text" role="status">${text}</p>` : null;
  return html`<nav class="pager" aria-label="Pages">
    <button class="button" disabled=${!pages.previous} onClick=${pages.previous}>Previous</button>
    <span role="status">Page ${pages.number}${text ? ` · ${text}` : ""}</span>
    <button class="button" disabled=${!pages.next} onClick=${pages.next}>Next</button>
  </nav>`;
}

export function Search({ label, value, onInput, placeholder }) {
  return html`<label class="search">
    <span class="hidden">${label}</span>
    <${Icon} name="search" />
    <input type="search" value=${value} placeholder=${placeholder ?? label} autocomplete="off" spellcheck=${false}
      onInput=${(event) => onInput(event.target.value)} />
  </label>`;
}

/** Buttons of which one is pressed. `options`: [value, text] pairs. */
export function Choice({ label, options, value, onChange }) {
  return html`<div class="choice" role="group" aria-label=${label}>
    ${options.map(([each, text]) => html`<button type="button" aria-pressed=${each === value ? "true" : "false"}
      onClick=${() => onChange(each)}>${text}</button>`)}
  </div>`;
}

/** Asks before something is done, says what will follow, and shows an error beside the buttons. */
export function Confirm({ title, action, tone = "primary", onConfirm, onClose, children, wide, ready = true }) {
  const element = useRef(null);
  const [state, setState] = useState({ busy: false, error: null });
  useEffect(() => {
    element.current.showModal();
  }, []);
  const confirm = async () => {
    setState({ busy: true, error: null });
    try {
      await onConfirm();
      onClose();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`<dialog ref=${element} class=${wide ? "wide" : ""} aria-labelledby="dialog-title" onCancel=${(event) => { event.preventDefault(); if (!state.busy) onClose(); }}>
    <h2 id="dialog-title">${title}</h2>
    <div class="dialog-body">${children}</div>
    ${state.error && html`<${Failure} error=${state.error} />`}
    <div class="dialog-foot">
      <button class="button" disabled=${state.busy} onClick=${onClose}>Cancel</button>
      <button class=${`button ${tone}`} disabled=${state.busy || !ready} onClick=${confirm}>${state.busy ? "Working …" : action}</button>
    </div>
  </dialog>`;
}

const listeners = new Set();

/** Says in a line what was done, to be seen and to be heard. */
export function announce(text) {
  for (const each of listeners) each(text);
}

export function Announcements() {
  const [text, setText] = useState("");
  useEffect(() => {
    let timer;
    const listener = (said) => {
      setText(said);
      clearTimeout(timer);
      timer = setTimeout(() => setText(""), 6000);
    };
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return html`<div class=${`toast${text ? " shown" : ""}`} role="status" aria-live="polite">${text}</div>`;
}

export function Facts({ of }) {
  return html`<dl class="facts">
    ${of.filter(Boolean).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value ?? html`<span class="muted">none</span>`}</dd></div>`)}
  </dl>`;
}

/** A sentence of the gateway, in which names of the configuration stand between backticks. */
export const Sentence = ({ text }) => text.split("`").map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));

/** A name that may break before its @ rather than within a word. */
export function Name({ of }) {
  const text = String(of);
  const at = text.indexOf("@");
  return at > 0 ? html`${text.slice(0, at)}<wbr />${text.slice(at)}` : text;
}

export const userLink = (id, name) => (id === null || id === undefined) ? html`<${Name} of=${name ?? "nobody"} />` : html`<a href=${`#/people/${encodeURIComponent(id)}`}><${Name} of=${name || id} /></a>`;

/** Save a file that is made on the page. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
