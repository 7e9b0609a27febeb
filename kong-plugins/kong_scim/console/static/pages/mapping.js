// What each group would become with another mapping, before anybody changes the configuration.
import { html, useState } from "../vendor/preact-htm.js";
import { post, untilSome, usePages, useSettled } from "../api.js";
import { count } from "../format.js";
import { Badge, Card, Choice, Loaded, Page, Pager, Sentence, Table, userLink } from "../ui.js";

const FIRST = { pattern: "", replacement: "", prefix: "", unmatched: "", map: "" };

/** The fields of the form as the configuration's section `groups`; throws with a sentence. */
function groupsOf(form) {
  const groups = {};
  for (const name of ["pattern", "replacement", "prefix", "unmatched"]) if (form[name]) groups[name] = form[name];
  const lines = form.map.split("\n").map((each) => each.trim()).filter(Boolean);
  if (lines.length) groups.map = {};
  for (const line of lines) {
    const at = line.lastIndexOf("=");
    if (at < 1 || at === line.length - 1) throw new Error(`The map needs a line such as “Engineering = eng”, not “${line}”.`);
    groups.map[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return groups;
}

function read(form) {
  try {
    return { groups: groupsOf(form), problem: null };
  } catch (error) {
    return { groups: null, problem: error.message };
  }
}

const FIELDS = [
  ["pattern", "Pattern", "Regular expression for the whole name, such as kong-(.+)"],
  ["replacement", "Replacement", "What a match becomes; \\1 is the first bracket"],
  ["prefix", "Prefix", "Put before every name that the map does not give"],
];

export function Mapping() {
  const [form, setForm] = useState(FIRST);
  const [view, setView] = useState("groups");
  const settled = useSettled(JSON.stringify(form), 300);
  const { groups, problem } = read(JSON.parse(settled));
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value });
  return html`<${Page} title="Mapping preview" intro="Type what should be different, and see what each group would become in Kong. What is left empty stays as configured. Nothing is changed.">
    <${Card} title="Mapping to try">
      <form class="form" onSubmit=${(event) => event.preventDefault()}>
        ${FIELDS.map(([name, title, hint]) => html`<div class="field">
          <label for=${name}>${title}</label>
          <input id=${name} type="text" value=${form[name]} onInput=${set(name)} spellcheck=${false} autocomplete="off" aria-describedby=${`hint-${name}`} />
          <span class="hint" id=${`hint-${name}`}>${hint}</span>
        </div>`)}
        <div class="field">
          <label for="unmatched">Other names</label>
          <select id="unmatched" value=${form.unmatched} onChange=${set("unmatched")} aria-describedby="hint-unmatched">
            <option value="">as configured</option><option value="keep">keep: an ACL group of that name</option>
            <option value="refuse">refuse: the group cannot be made</option><option value="ignore">ignore: opens nothing</option>
          </select>
          <span class="hint" id="hint-unmatched">What neither map nor pattern knows</span>
        </div>
        <div class="field span">
          <label for="map">Map</label>
          <textarea id="map" rows="3" value=${form.map} onInput=${set("map")} spellcheck=${false} aria-describedby="hint-map"></textarea>
          <span class="hint" id="hint-map">A line for each group: Engineering = eng</span>
        </div>
      </form>
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <//>
    <div class="tools"><${Choice} label="What to show" value=${view} onChange=${setView}
      options=${[["groups", "What groups become"], ["people", "Who gains or loses"]]} /></div>
    ${groups && (view === "groups" ? html`<${OfGroups} groups=${groups} />` : html`<${OfPeople} groups=${groups} />`)}
  <//>`;
}

function change(group) {
  if (group.error) return html`<${Badge} tone="bad">not possible<//>`;
  return group.now === group.then ? html`<${Badge}>same<//>` : html`<${Badge} tone="warn">changes<//>`;
}

const nameOr = (name) => (name ? html`<code>${name}</code>` : html`<span class="muted">nothing</span>`);

function OfGroups({ groups }) {
  const pages = usePages(
    (cursor, signal) => post("/Mapping", { groups, count: 50, ...(cursor && { cursor }) }, signal),
    (page) => page.next,
    [JSON.stringify(groups)],
  );
  const columns = [
    { name: "Group", cell: (each) => html`<strong><a href=${`#/groups/${each.id}`}>${each.displayName}</a></strong>` },
    { name: "Now", cell: (each) => nameOr(each.now) },
    { name: "Then", cell: (each) => (each.error ? html`<span class="loss"><${Sentence} text=${each.error} /></span>` : nameOr(each.then)) },
    { name: "Change", kind: "fit", cell: change },
  ];
  return html`<${Loaded} of=${pages} empty=${{ title: "There are no groups yet", icon: "groups" }} isEmpty=${(page) => page.groups.length === 0 && pages.number === 1}>
    ${(page) => html`
      <${Table} caption="What groups become" columns=${columns} rows=${page.groups} rowKey=${(each) => each.id} />
      <${Pager} pages=${pages} />
    `}
  <//>`;
}

function OfPeople({ groups }) {
  const pages = usePages(
    (cursor, signal) => untilSome((place) => post("/Drift/preview", { groups, count: 50, ...(place && { cursor: place }) }, signal), "changes", cursor),
    (page) => page.next,
    [JSON.stringify(groups)],
  );
  const list = (names, kind, sign) => (names.length
    ? html`<span class="tags">${names.map((each) => html`<span class=${kind}>${sign}${each}</span>`)}</span>`
    : html`<span class="muted">nothing</span>`);
  const columns = [
    { name: "Person", cell: (each) => html`<strong>${userLink(each.user, each.userName)}</strong>` },
    { name: "Gains", cell: (each) => list(each.gains, "gain", "+") },
    { name: "Loses", cell: (each) => html`${list(each.loses, "loss", "−")}${each.error && html`<div class="loss"><${Sentence} text=${each.error} /></div>`}` },
  ];
  return html`<${Loaded} of=${pages} empty=${{ title: "Nobody gains or loses a group" }} isEmpty=${(page) => page.changes.length === 0 && pages.number === 1}>
    ${(page) => html`
      <${Table} caption="Who gains or loses" columns=${columns} rows=${page.changes} rowKey=${(each) => each.user} />
      <${Pager} pages=${pages} text=${`${count(page.people, "person", "people")} looked at`} />
    `}
  <//>`;
}
