// One person: the consumer, each group with the reasons for it, credentials, timeline, raw resource.
import { html } from "../vendor/preact-htm.js";
import { get, useLoaded, usePages } from "../api.js";
import { changeOf, count, credential, moment } from "../format.js";
import { Badge, Card, Empty, Facts, Loaded, Page, Pager, Sentence, Table, Time } from "../ui.js";

export function Person({ id }) {
  const person = useLoaded((signal) => get("/People", { id }, signal), [id]);
  const data = person.data;
  const name = data?.resource.displayName || data?.resource.name?.formatted || data?.userName || "Person";
  return html`<${Page} title=${name} back=${{ href: "#/people", text: "People" }} intro=${data && name !== data.userName ? data.userName : null}>
    <${Loaded} of=${person}>${(found) => html`<${Shown} person=${found} />`}<//>
  <//>`;
}

function state(person) {
  if (person.suspended) return html`<${Badge} tone="warn">suspended: Kong refuses every request<//>`;
  return person.active ? html`<${Badge} tone="ok">active<//>` : html`<${Badge} tone="warn">disabled<//>`;
}

function Shown({ person }) {
  const { consumer, resource } = person;
  const mail = resource.emails?.find((each) => each.primary)?.value ?? resource.emails?.[0]?.value;
  return html`<div class="grid">
    <${Card} title="In the identity provider">
      <${Facts} of=${[
        ["State", state(person)],
        ["User name", person.userName],
        mail && ["E-mail", mail],
        resource.externalId && ["External id", html`<code>${resource.externalId}</code>`],
        ["Id", html`<code>${person.id}</code>`],
        resource.meta?.lastModified && ["Last changed", html`<${Time} at=${resource.meta.lastModified} />`],
      ]} />
    <//>
    <${Card} title="Consumer in Kong">
      ${consumer
        ? html`<${Facts} of=${[
            ["Username", html`<code>${consumer.username}</code>`],
            ["custom_id", consumer.custom_id && html`<code>${consumer.custom_id}</code>`],
            ["Id", html`<code>${consumer.id}</code>`],
            ["Tags", consumer.tags?.length ? html`<span class="tags">${consumer.tags.map((each) => html`<code>${each}</code>`)}</span>` : null],
          ]} />`
        : html`<${Empty} title="There is no consumer" text="The Drift page shows why, and what mends it." icon="warning" />`}
    <//>
    <${Card} title="ACL groups, and why" wide><${Groups} groups=${person.groups} /><//>
    <${Card} title="Credentials" wide><${Credentials} credentials=${person.credentials} /><//>
    <${Card} title="Timeline" wide><${Timeline} id=${person.id} /><//>
    <${Card} title="Raw resource" wide>
      <details><summary>SCIM resource as JSON</summary><pre tabindex="0">${JSON.stringify(resource, null, 2)}</pre></details>
    <//>
  </div>`;
}

function agreement(group) {
  if (group.wanted && group.found) return html`<${Badge} tone="ok">in Kong<//>`;
  if (group.wanted) return html`<${Badge} tone="bad">missing in Kong<//>`;
  // Such as every group of somebody who is suspended.
  return group.found ? html`<${Badge} tone="warn">too many in Kong<//>` : html`<${Badge}>not given<//>`;
}

function Reason({ reason }) {
  return html`<li>
    ${reason.via.map((each, index) => html`${index > 0 && html`<span class="within"> in </span>`}<strong>${each}</strong>`)}
    <div class="muted"><${Sentence} text=${reason.detail} /></div>
  </li>`;
}

function Groups({ groups }) {
  if (groups.length === 0) return html`<${Empty} title="No ACL groups" text="Nothing that needs a group is open to this person." icon="groups" />`;
  const columns = [
    { name: "ACL group", cell: (each) => (each.name ? html`<code>${each.name}</code>` : html`<span class="muted">no name is possible</span>`) },
    { name: "Because of", cell: (each) => each.reasons.length
      ? html`<ul class="reasons">${each.reasons.map((reason) => html`<${Reason} reason=${reason} />`)}</ul>`
      : html`<span class="muted">nothing in the identity provider</span>` },
    { name: "State", kind: "fit", cell: agreement },
  ];
  return html`<${Table} caption="ACL groups" columns=${columns} rows=${groups} rowKey=${(each) => each.name} />`;
}

function Credentials({ credentials }) {
  if (credentials.length === 0) return html`<${Empty} title="No credentials" text="SCIM creates none: they are given at the Admin API or in a portal." icon="check" />`;
  const columns = [
    { name: "Kind", cell: (each) => credential(each.kind) },
    { name: "Id", cell: (each) => html`<code>${each.id}</code>` },
    { name: "Created", cell: (each) => html`<${Time} at=${each.created} />` },
    { name: "Expires", cell: (each) => (each.expires ? html`<${Time} at=${each.expires} />` : html`<span class="muted">never</span>`) },
  ];
  return html`<${Table} caption="Credentials" columns=${columns} rows=${credentials} rowKey=${(each) => each.id} />`;
}

function Timeline({ id }) {
  const filter = ["resourceId", "users.value", "joined", "left"].map((each) => `${each} eq ${JSON.stringify(id)}`).join(" or ");
  const pages = usePages(
    (cursor, signal) => get("/Events", { filter, sortBy: "sequence", sortOrder: "descending", count: 20, cursor: cursor ?? "" }, signal),
    (page) => page.nextCursor,
    [id],
  );
  const empty = { title: "No events", text: "The audit trail has nothing about this person.", icon: "log" };
  return html`<${Loaded} of=${pages} empty=${empty} isEmpty=${(page) => !page.Resources?.length}>
    ${(page) => html`
      <ol class="timeline">${page.Resources.map((each) => html`<${Event} event=${each} id=${id} key=${each.id} />`)}</ol>
      <${Pager} pages=${pages} text=${count(page.totalResults, "event")} />
    `}
  <//>`;
}

function Event({ event, id }) {
  const change = changeOf(event, id);
  return html`<li>
    <div class="event-what">
      ${change.dryRun && html`<${Badge}>dry run<//>`}
      <strong>${change.text}</strong>
      ${change.added.map((each) => html`<span class="gain">+${each}</span>`)}
      ${change.removed.map((each) => html`<span class="loss">−${each}</span>`)}
      ${change.suspended && html`<${Badge} tone="warn">suspended<//>`}
    </div>
    <div class="muted">
      <time datetime=${event.occurred}>${moment(event.occurred)}</time> · #${event.sequence} · by ${event.actor ?? "unknown"}
      ${event.requestId && html` · request <code>${event.requestId}</code>`}
    </div>
  </li>`;
}
