// Where Kong is not what the identity provider says, and what mends it.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { get, post, untilSome, usePages } from "../api.js";
import { count, kindOfDrift, number } from "../format.js";
import { Badge, Choice, Failure, Loaded, Name, Page, Pager, Sentence, Table, Time, announce, userLink } from "../ui.js";

const SHOWN = 100;

/** Mend, or say what would be mended, a page at a time; `progress` is told after each. */
async function mend(user, dryRun, progress, signal) {
  const sum = { mended: 0, held: 0, failed: 0, total: 0, results: [] };
  let cursor = null;
  do {
    const answer = await post("/Drift", { dryRun, user, ...(cursor && { cursor }) }, signal);
    for (const name of ["mended", "held", "failed"]) sum[name] += answer[name];
    sum.total += answer.results.length;
    sum.results.push(...answer.results.slice(0, SHOWN - sum.results.length));
    cursor = answer.next;
    progress({ ...sum });
  } while (cursor);
  return sum;
}

const RESULTS = { mended: "ok", held: "warn", failed: "bad" };

function Results({ of }) {
  const columns = [
    { name: "Person", cell: (each) => userLink(each.user, each.userName) },
    { name: "Difference", cell: (each) => kindOfDrift(each.kind) },
    { name: "Result", kind: "fit", cell: (each) => html`<${Badge} tone=${RESULTS[each.result] ?? "plain"}>${each.result}<//>` },
    { name: "Detail", cell: (each) => html`<${Sentence} text=${each.detail ?? ""} />` },
  ];
  return html`
    <${Table} caption="Results" columns=${columns} rows=${of.results} />
    ${of.total > of.results.length && html`<p class="muted">and ${number(of.total - of.results.length)} more</p>`}
  `;
}

function MendDialog({ user, userName, onClose }) {
  const element = useRef(null);
  const [phase, setPhase] = useState("looking");
  const [sum, setSum] = useState(null);
  const [error, setError] = useState(null);
  const aborter = useRef(new AbortController());
  const run = async (dryRun, after) => {
    try {
      await mend(user, dryRun, setSum, aborter.current.signal);
      setPhase(after);
    } catch (failure) {
      if (failure.name === "AbortError") return;
      setError(failure);
      setPhase("failed");
    }
  };
  useEffect(() => {
    element.current.showModal();
    run(true, "ready");
    return () => aborter.current.abort();
  }, []);
  const begin = () => {
    setPhase("mending");
    setSum(null);
    run(false, "done");
  };
  const close = () => {
    if (phase === "done") announce(`${count(sum.mended, "difference was mended", "differences were mended")}.`);
    onClose(phase === "done" || phase === "mending" || phase === "failed");
  };
  const title = user ? `Mend what differs for ${userName}` : "Mend every difference";
  return html`<dialog ref=${element} class="wide" aria-labelledby="dialog-title" onCancel=${(event) => { event.preventDefault(); close(); }}>
    <h2 id="dialog-title">${title}</h2>
    <div class="dialog-body">
      <p role="status">
        ${phase === "looking" && `Looking at what would be done: ${number(sum?.total ?? 0)} so far …`}
        ${phase === "ready" && (sum.total ? `Nothing has been changed yet. This would be done: ${count(sum.total, "step")}.` : "There is nothing to mend any more.")}
        ${phase === "mending" && `Mending: ${number(sum?.total ?? 0)} done …`}
        ${phase === "done" && `${number(sum.mended)} mended, ${number(sum.held)} held by the quarantine, ${number(sum.failed)} failed.`}
      </p>
      ${error && html`<${Failure} error=${error} />`}
      ${sum && sum.results.length > 0 && html`<${Results} of=${sum} />`}
    </div>
    <div class="dialog-foot">
      <button class="button" onClick=${close}>${phase === "done" ? "Close" : "Cancel"}</button>
      ${phase === "ready" && sum.total > 0 && html`<button class="button primary" onClick=${begin}>${`Mend ${number(sum.total)}`}</button>`}
    </div>
  </dialog>`;
}

export function Drift() {
  const [kind, setKind] = useState("");
  const [mending, setMending] = useState(null);
  const [kinds, setKinds] = useState({});
  const pages = usePages(
    (cursor, signal) => untilSome((place) => get("/Drift", { kind: kind || null, count: 50, cursor: place }, signal), "differences", cursor),
    (page) => page.next,
    [kind],
  );
  const closed = (changed) => {
    setMending(null);
    if (changed) pages.reload();
  };
  const total = pages.data?.total ?? 0;
  useEffect(() => {
    if (!kind && pages.data) setKinds(pages.data.byKind);
  }, [pages.data]);
  const actions = total > 0 && html`<button class="button primary" onClick=${() => setMending({ user: null })}>Mend all …</button>`;
  const columns = [
    { name: "Person", cell: (each) => html`<strong>${userLink(each.user, each.userName)}</strong>` },
    { name: "Difference", cell: (each) => html`<${Badge} tone="warn">${kindOfDrift(each.kind)}<//>` },
    { name: "Wanted", cell: (each) => html`<${Value} of=${each.wanted} />` },
    { name: "In Kong", cell: (each) => html`<${Value} of=${each.found} />` },
    { name: "Since", kind: "fit", cell: (each) => (each.since ? html`<${Time} at=${each.since} />` : html`<span class="muted">not known</span>`) },
    { name: "What mends it", cell: (each) => html`<${Sentence} text=${each.mend} />` },
    { name: "Mend", hidden: true, kind: "fit", cell: (each) => each.user && html`<button class="button small" aria-label=${`Mend ${each.userName ?? each.user}`}
      onClick=${() => setMending({ user: each.user, userName: each.userName ?? each.user })}>Mend …</button>` },
  ];
  return html`<${Page} title="Drift" intro="Where Kong is not what the identity provider says. What SCIM did not make is never touched." actions=${actions}>
    <${Loaded} of=${pages} empty=${{ title: "Kong agrees with the identity provider", text: "There is no difference to mend." }}
        isEmpty=${(page) => page.differences.length === 0 && !kind && pages.number === 1}>
      ${(page) => html`
        <div class="tools">
          <${Choice} label="Kind of difference" value=${kind} onChange=${setKind}
            options=${[["", `All (${number(sumOf(kinds))})`], ...Object.entries(kinds).map(([each, many]) => [each, `${kindOfDrift(each)} (${number(many)})`])]} />
        </div>
        <${LastPass} pass=${page.pass} />
        <${Table} caption="Differences" columns=${columns} rows=${page.differences} rowKey=${(each) => `${each.user} ${each.kind} ${each.wanted}`} />
        <${Pager} pages=${pages} text=${count(page.total, "difference") + (page.next ? " so far" : "")} />
      `}
    <//>
    ${mending && html`<${MendDialog} ...${mending} onClose=${closed} />`}
  <//>`;
}

const sumOf = (kinds) => Object.values(kinds).reduce((sum, each) => sum + each, 0);

function Value({ of }) {
  if (of === null || of === undefined || of === "" || of.length === 0) return html`<span class="muted">nothing</span>`;
  if (Array.isArray(of)) return html`<span class="tags">${of.map((each) => html`<code>${each}</code>`)}</span>`;
  return html`<code><${Name} of=${typeof of === "object" ? JSON.stringify(of) : String(of)} /></code>`;
}

function LastPass({ pass }) {
  if (!pass) return html`<p class="muted">No pass in the background has ended yet.</p>`;
  return html`<p class="muted">Last pass over ${count(pass.people, "person", "people")}: <${Time} at=${pass.ended ?? pass.begun} />, by ${pass.by}.</p>`;
}
