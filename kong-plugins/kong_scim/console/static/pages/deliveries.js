// What is sent to webhooks: each attempt, and sending again what was given up.
import { html, useState } from "../vendor/preact-htm.js";
import { get, post, usePages } from "../api.js";
import { count, moment, number } from "../format.js";
import { Badge, Choice, Confirm, Loaded, Page, Pager, Table, Time, announce } from "../ui.js";

const PAGE = 50;
const TONES = { delivered: "ok", dead: "bad" };
const STATES = { delivered: "delivered", dead: "given up", pending: "waiting", claimed: "being sent" };
const FILTERS = [["", "All"], ["pending", "Waiting"], ["dead", "Given up"], ["delivered", "Delivered"]];

function Attempts({ attempts }) {
  if (attempts.length === 0) return html`<span class="muted">none yet</span>`;
  return html`<details>
    <summary>${count(attempts.length, "attempt")}</summary>
    <ol class="attempts">
      ${attempts.map((each) => html`<li>
        <span class="muted">${moment(each.at)}, ${number(each.milliseconds)} ms</span>
        <span>${each.error ?? `status ${each.status}`}</span>
      </li>`)}
    </ol>
  </details>`;
}

export function Deliveries() {
  const [state, setState] = useState("");
  const [replaying, setReplaying] = useState(null);
  const pages = usePages(
    (after, signal) => get("/Events/deliveries", { state: state || null, after: after ?? 0, count: PAGE }, signal),
    (page) => (page.deliveries.length === PAGE ? page.deliveries[PAGE - 1].id : null),
    [state],
  );
  const replay = async () => {
    const { replayed } = await post("/Events/deliveries/replay", replaying.id ? { ids: [replaying.id] } : { failed: true });
    announce(`${count(replayed, "delivery", "deliveries")} will be sent again.`);
    pages.reload();
  };
  const columns = [
    { name: "Number", kind: "number", cell: (each) => number(each.id) },
    { name: "State", kind: "fit", cell: (each) => html`<${Badge} tone=${TONES[each.state] ?? "plain"}>${STATES[each.state] ?? each.state}<//>` },
    { name: "Target", cell: (each) => html`<strong>${each.target}</strong>` },
    { name: "Event", cell: (each) => html`<code>${each.event}</code>` },
    { name: "Created", kind: "fit", cell: (each) => html`<${Time} at=${each.created} />` },
    { name: "Attempts", cell: (each) => html`<${Attempts} attempts=${each.attempts} />` },
    { name: "Send again", hidden: true, kind: "fit", cell: (each) => (each.state === "dead" || each.state === "delivered") && html`<button class="button small"
      aria-label=${`Send delivery ${each.id} again`} onClick=${() => setReplaying({ id: each.id, target: each.target })}>Send again …</button>` },
  ];
  const empty = state
    ? { title: "No delivery is in this state" }
    : { title: "There are no deliveries", text: "They appear here if events.webhooks in the configuration names a target.", icon: "deliveries" };
  const actions = html`<button class="button" onClick=${() => setReplaying({})}>Send again all that were given up …</button>`;
  return html`<${Page} title="Deliveries" intro="What is sent to webhooks, with every attempt." actions=${actions}>
    <div class="tools"><${Choice} label="State" value=${state} onChange=${setState} options=${FILTERS} /></div>
    <${Loaded} of=${pages} empty=${empty} isEmpty=${(page) => page.deliveries.length === 0 && pages.number === 1}>
      ${(page) => html`
        <${Table} caption="Deliveries" columns=${columns} rows=${page.deliveries} rowKey=${(each) => each.id} />
        <${Pager} pages=${pages} />
      `}
    <//>
    ${replaying && html`<${Confirm} title=${replaying.id ? `Send delivery ${replaying.id} again` : "Send again all that were given up"}
        action="Send again" onConfirm=${replay} onClose=${() => setReplaying(null)}>
      <p>${replaying.id
        ? `The event goes to ${replaying.target} once more. A receiver that had it already gets it twice.`
        : "Each delivery that was given up is tried again, in the order of its events."}</p>
    <//>`}
  <//>`;
}
