// Whom the guard against too many deprovisionings holds back, and the decision about it.
import { html, useState } from "../vendor/preact-htm.js";
import { get, post, useLoaded } from "../api.js";
import { count, moment, number } from "../format.js";
import { Badge, Card, Confirm, Empty, Facts, Loaded, Page, Table, Time, announce, userLink } from "../ui.js";

const STATES = {
  off: ["plain", "Off", () => "Nothing is ever held back: quarantine.enabled is false in the configuration."],
  open: ["ok", "Open", () => "Nothing is held back."],
  quarantined: ["bad", "Quarantined", () => "Nobody is deactivated or deleted until you approve, reject or lift."],
  approved: ["warn", "Approved", (until) => `Everything goes through until ${until}, and counting begins anew then.`],
  rejected: ["warn", "Rejected", (until) => `Nobody is deactivated or deleted until ${until}, and later if such requests go on.`],
};

const MINUTES = [[null, "one window"], [15, "15 minutes"], [60, "1 hour"], [240, "4 hours"], [1440, "1 day"]];

export function Quarantine() {
  const quarantine = useLoaded((signal) => get("/Quarantine", {}, signal), []);
  const [decision, setDecision] = useState(null);
  const data = quarantine.data;
  const button = (name, text, tone = "") => html`<button class=${`button ${tone}`} onClick=${() => setDecision(name)}>${text}</button>`;
  const actions = data && data.state !== "off" && html`
    ${button("approve", "Approve …", data.state === "quarantined" ? "primary" : "")}
    ${data.state === "quarantined" && button("reject", "Reject …", "danger")}
    ${data.state !== "open" && button("lift", "Lift …")}
  `;
  return html`<${Page} title="Quarantine" intro="The guard against an identity provider that removes too many people at once." actions=${actions}>
    <${Loaded} of=${quarantine}>${(found) => html`<${Shown} of=${found} />`}<//>
    ${decision && html`<${Decide} decision=${decision} of=${data} onDone=${quarantine.reload} onClose=${() => setDecision(null)} />`}
  <//>`;
}

function Shown({ of }) {
  const [tone, title, means] = STATES[of.state] ?? ["plain", of.state, () => ""];
  return html`
    <section class=${`banner ${tone}`} aria-label="State">
      <${Badge} tone=${tone}>${title}<//>
      <div><strong>${means(of.until && moment(of.until))}</strong>
        ${of.reason && html`<p>Since ${moment(of.since)}: ${of.reason}</p>`}
      </div>
    </section>
    <div class="grid">
      <${Card} title="People">
        <${Facts} of=${[
          ["Gone", `${number(of.gone)} of ${number(of.users)}`],
          ["May go", `${number(of.allowed)} within ${count(of.window, "minute")}`],
          ["Held back", number(of.heldTotal)],
          of.refused !== undefined && ["Refused requests", number(of.refused)],
        ]} />
      <//>
      <${Card} title="Memberships">
        <${Facts} of=${[
          ["Taken away", `${number(of.membershipsTaken)} of ${number(of.memberships)}`],
          ["May be taken away", number(of.membershipsAllowed)],
          ["Held back", count(of.membershipsHeld.length, "change")],
          of.decided && ["Last decision", html`<${Time} at=${of.decided} /> by ${of.decidedBy}`],
        ]} />
      <//>
      <${Card} title="Held back" wide>
        <${Listed} people=${of.held} total=${of.heldTotal} refused caption="Held back" empty="Nobody is held back" />
      <//>
      ${of.membershipsHeld.length > 0 && html`<${Card} title="Memberships held back" wide><${Memberships} held=${of.membershipsHeld} /><//>`}
      <${Card} title="Removed in this window" wide>
        <${Listed} people=${of.removed} total=${of.removedTotal} caption="Removed" empty="Nobody was removed" />
      <//>
    </div>
  `;
}

const PAGE = 50;

/** The endpoint answers up to 1,000 people at once, of whom a page is drawn. */
function Listed({ people, total, caption, empty, refused }) {
  const [shown, setShown] = useState(PAGE);
  if (total === 0) return html`<${Empty} title=${empty} />`;
  const columns = [
    { name: "Person", cell: (each) => (each.userName ? html`<strong>${userLink(each.id, each.userName)}</strong>` : html`<code>${each.id}</code>`) },
    { name: "Request", kind: "fit", cell: (each) => each.operation },
    { name: "Time", kind: "fit", cell: (each) => html`<${Time} at=${each.at} />` },
    refused && { name: "Refused", kind: "number", cell: (each) => count(each.refused ?? 0, "time") },
  ].filter(Boolean);
  return html`
    <${Table} caption=${caption} columns=${columns} rows=${people.slice(0, shown)} rowKey=${(each) => each.id} />
    ${people.length > shown && html`<button class="button" onClick=${() => setShown(shown + PAGE)}>Show more</button>`}
    ${total > Math.min(shown, people.length) && html`<p class="muted">${number(Math.min(shown, people.length))} of ${number(total)} are shown.</p>`}
  `;
}

function Memberships({ held }) {
  const columns = [
    { name: "Group or person", cell: (each) => each.display ?? html`<code>${each.id}</code>` },
    { name: "Memberships", kind: "number", cell: (each) => number(each.memberships) },
    { name: "Time", kind: "fit", cell: (each) => html`<${Time} at=${each.at} />` },
  ];
  return html`<${Table} caption="Memberships held back" columns=${columns} rows=${held.slice(0, 200)} rowKey=${(each) => each.id} />`;
}

const DECISIONS = {
  approve: ["Approve", "primary", "The removals are meant"],
  reject: ["Reject", "danger", "The removals are a mistake"],
  lift: ["Lift", "primary", "It is mended: end this and count anew"],
};

function Decide({ decision, of, onDone, onClose }) {
  const [minutes, setMinutes] = useState(null);
  const [action, tone, title] = DECISIONS[decision];
  const confirm = async () => {
    await post("/Quarantine", { decision, ...(minutes && { minutes }) });
    announce(`Decided: ${decision}.`);
    onDone();
  };
  return html`<${Confirm} title=${title} action=${action} tone=${tone} onConfirm=${confirm} onClose=${onClose}>
    <p>What follows:</p>
    <ul>${whatFollows(decision, of, minutes).map((each) => html`<li>${each}</li>`)}</ul>
    ${decision === "approve" && html`<label class="field">For how long
      <select value=${minutes ?? ""} onChange=${(event) => setMinutes(Number(event.target.value) || null)}>
        ${MINUTES.map(([value, text]) => html`<option value=${value ?? ""}>${value === null ? `${text} (${count(of.window, "minute")})` : text}</option>`)}
      </select>
    </label>`}
  <//>`;
}

function whatFollows(decision, of, minutes) {
  const held = count(of.heldTotal, "person is", "people are");
  if (decision === "approve") {
    return [
      `For ${count(minutes ?? of.window, "minute")} every removal goes through, however many there are.`,
      of.heldTotal
        ? `${held} held back now. Each is deactivated or deleted when the provider sends the request again; most do within the hour.`
        : "Nobody is held back now.",
      "Then counting begins anew.",
    ];
  }
  if (decision === "reject") {
    return [
      `Nobody is deactivated or deleted for ${count(of.window, "minute")}, and longer if the provider goes on asking.`,
      `${held} held back and keep access.`,
      `${count(of.removedTotal, "person who was", "people who were")} removed before stay removed: the provider has to add them again.`,
    ];
  }
  return ["Removals go through again up to the limit.", `Counting begins anew: ${count(of.allowed, "person", "people")} may go.`];
}
