// Everybody, a page at a time, found as one types.
import { html, useState } from "../vendor/preact-htm.js";
import { get, untilSome, usePages, useSettled } from "../api.js";
import { Badge, Loaded, Name, Page, Pager, Search, Table, userLink } from "../ui.js";

const COLUMNS = [
  { name: "Person", cell: (each) => html`<strong>${userLink(each.id, each.userName)}</strong>` },
  { name: "Name", cell: (each) => each.displayName || html`<span class="muted">none</span>` },
  { name: "Consumer in Kong", cell: (each) => each.consumer
    ? html`<code><${Name} of=${each.consumer} /></code>` : html`<span class="muted">none</span>` },
  { name: "State", kind: "fit", cell: (each) => each.active
    ? html`<${Badge} tone="ok">active<//>` : html`<${Badge} tone="warn">suspended<//>` },
];

export function People() {
  const [typed, setTyped] = useState("");
  const search = useSettled(typed.trim());
  const pages = usePages(
    (cursor, signal) => untilSome((place) => get("/People", { search: search || null, count: 50, cursor: place }, signal), "people", cursor),
    (page) => page.next,
    [search],
  );
  const empty = search
    ? { title: `Nobody matches “${search}”`, text: "The search finds the beginnings of user names, names and e-mail addresses.", icon: "search" }
    : { title: "There is nobody yet", text: "People appear here once the identity provider has sent them.", icon: "people" };
  return html`<${Page} title="People" intro="Everybody whom the identity provider has sent, and the consumer that each is in Kong.">
    <div class="tools"><${Search} label="Search people" placeholder="Name or e-mail address" value=${typed} onInput=${setTyped} /></div>
    <${Loaded} of=${pages} empty=${empty} isEmpty=${(page) => page.people.length === 0 && pages.number === 1}>
      ${(page) => html`
        <${Table} caption="People" columns=${COLUMNS} rows=${page.people} rowKey=${(each) => each.id} />
        <${Pager} pages=${pages} />
      `}
    <//>
  <//>`;
}
