// The provider's groups: who is in each, what it becomes in Kong, and what that opens.
import { html, useState } from "../vendor/preact-htm.js";
import { get, post, untilSome, useLoaded, usePages, useSettled } from "../api.js";
import { count } from "../format.js";
import { Badge, Card, Facts, Loaded, Page, Pager, Search, Sentence, Table, Time, userLink } from "../ui.js";

const PAGE = 50;
const MOST_PAGES = 50;
const MOST_NAMES = 40;

/** What the groups with these ids become in Kong. The endpoint has no search, so its pages are read
    until all are found. */
async function becoming(ids, signal) {
  const found = new Map();
  const wanted = new Set(ids);
  let cursor = null;
  for (let page = 0; page < MOST_PAGES && wanted.size > 0; page += 1) {
    const answer = await post("/Mapping", { groups: {}, count: 200, ...(cursor && { cursor }) }, signal);
    for (const each of answer.groups) if (wanted.delete(each.id)) found.set(each.id, each);
    cursor = answer.next;
    if (!cursor) break;
  }
  return found;
}

function InKong({ of, id }) {
  if (of.error) return html`<span class="muted" title=${of.error.message}>unknown</span>`;
  if (!of.data) return html`<span class="muted">…</span>`;
  const group = of.data.get(id);
  if (group?.error) return html`<span class="loss"><${Sentence} text=${group.error} /></span>`;
  return group?.now ? html`<code>${group.now}</code>` : html`<span class="muted">nothing</span>`;
}

export function Groups() {
  const [typed, setTyped] = useState("");
  const search = useSettled(typed.trim());
  const pages = usePages(
    (cursor, signal) => get("/Groups", {
      attributes: "displayName,meta.lastModified",
      sortBy: "displayName",
      filter: search ? `displayName co ${JSON.stringify(search)}` : null,
      count: PAGE,
      cursor: cursor ?? "",
    }, signal),
    (page) => page.nextCursor,
    [search],
  );
  const ids = pages.data?.Resources?.map((each) => each.id) ?? [];
  const mapping = useLoaded((signal) => becoming(ids, signal), [ids.join()]);
  const empty = search
    ? { title: `No group matches “${search}”`, icon: "search" }
    : { title: "There are no groups yet", text: "Groups appear here once the identity provider has sent them.", icon: "groups" };
  const columns = [
    { name: "Group", cell: (each) => html`<strong><a href=${`#/groups/${each.id}`}>${each.displayName}</a></strong>` },
    { name: "ACL group in Kong", cell: (each) => html`<${InKong} of=${mapping} id=${each.id} />` },
    { name: "Last changed", cell: (each) => html`<${Time} at=${each.meta?.lastModified} />` },
  ];
  return html`<${Page} title="Groups" intro="The groups of the identity provider, and the ACL group that each becomes in Kong.">
    <div class="tools"><${Search} label="Search groups" placeholder="Name of a group" value=${typed} onInput=${setTyped} /></div>
    <${Loaded} of=${pages} empty=${empty} isEmpty=${(page) => !page.Resources?.length}>
      ${(page) => html`
        <${Table} caption="Groups" columns=${columns} rows=${page.Resources} rowKey=${(each) => each.id} />
        <${Pager} pages=${pages} text=${count(page.totalResults, "group")} />
      `}
    <//>
  <//>`;
}

export function Group({ id }) {
  const group = useLoaded((signal) => get(`/Groups/${id}`, { attributes: "displayName,externalId,meta" }, signal), [id]);
  return html`<${Page} title=${group.data?.displayName ?? "Group"} back=${{ href: "#/groups", text: "Groups" }}>
    <${Loaded} of=${group}>${(found) => html`<${Shown} group=${found} />`}<//>
  <//>`;
}

function Shown({ group }) {
  const mapping = useLoaded((signal) => becoming([group.id], signal), [group.id]);
  const name = mapping.data?.get(group.id)?.now ?? null;
  return html`<div class="grid">
    <${Card} title="In the identity provider">
      <${Facts} of=${[
        ["Name", group.displayName],
        group.externalId && ["External id", html`<code>${group.externalId}</code>`],
        ["Id", html`<code>${group.id}</code>`],
        ["Last changed", html`<${Time} at=${group.meta?.lastModified} />`],
      ]} />
    <//>
    <${Card} title="In Kong">
      <${Facts} of=${[["ACL group", html`<${InKong} of=${mapping} id=${group.id} />`]]} />
      <p><a href="#/mapping">Try another mapping</a></p>
    <//>
    <${Card} title="What it opens" wide>
      ${mapping.data ? html`<${Opens} name=${name} />` : html`<${Loaded} of=${mapping} />`}
    <//>
    <${Card} title="Groups in it" wide><${Inner} id=${group.id} /><//>
    <${Card} title="Members" wide><${Members} id=${group.id} /><//>
  </div>`;
}

/** The services and routes that the access review names for an ACL group, each once. */
async function opened(name, signal) {
  const answer = await untilSome((cursor) => get("/AccessReview", { group: name, count: 200, cursor }, signal), "entries", null);
  const places = new Map(answer.entries.map((each) => [`${each.service} ${each.route}`, each]));
  return { places: [...places.values()], partial: Boolean(answer.next) };
}

/** A name that no acl plugin of Kong has is refused, and opens nothing. */
function nothing(error) {
  if (error.status === 400) return { places: [] };
  throw error;
}

function Opens({ name }) {
  const places = useLoaded((signal) => (name ? opened(name, signal).catch(nothing) : Promise.resolve({ places: [] })), [name]);
  const empty = { title: "Nothing", text: name ? "Nobody reaches a route because of this group." : "It becomes no ACL group, so it opens nothing in Kong.", icon: "mapping" };
  const columns = [
    { name: "Service", cell: (each) => html`<code>${each.service}</code>` },
    { name: "Route", cell: (each) => html`<code>${each.route}</code>` },
  ];
  return html`<${Loaded} of=${places} empty=${empty} isEmpty=${(found) => found.places.length === 0}>
    ${(found) => html`
      <${Table} caption="What it opens" columns=${columns} rows=${found.places} />
      ${found.partial && html`<p class="muted">There are more entries: <a href="#/review">the access review</a> has all.</p>`}
    `}
  <//>`;
}

/** The groups in a group, with their names as far as one more request brings them. */
async function inner(id, signal) {
  const { members = [] } = await get(`/Groups/${id}`, { attributes: "members" }, signal);
  const ids = members.filter((each) => each.type === "Group").map((each) => each.value);
  if (ids.length === 0) return [];
  const filter = ids.slice(0, MOST_NAMES).map((each) => `id eq ${JSON.stringify(each)}`).join(" or ");
  const named = await get("/Groups", { filter, attributes: "displayName", count: MOST_NAMES }, signal);
  const names = new Map((named.Resources ?? []).map((each) => [each.id, each.displayName]));
  return ids.map((each) => ({ id: each, name: names.get(each) ?? each }));
}

function Inner({ id }) {
  const groups = useLoaded((signal) => inner(id, signal), [id]);
  return html`<${Loaded} of=${groups} isEmpty=${(found) => found.length === 0}
      empty=${{ title: "No groups", text: "Its members are people only.", icon: "groups" }}>
    ${(found) => html`<ul class="chips">
      ${found.slice(0, 200).map((each) => html`<li><a href=${`#/groups/${each.id}`}>${each.name}</a></li>`)}
    </ul>`}
  <//>`;
}

function Members({ id }) {
  const pages = usePages(
    (cursor, signal) => get("/Users", {
      filter: `groups.value eq ${JSON.stringify(id)}`,
      attributes: "userName,displayName,active,groups",
      count: PAGE,
      cursor: cursor ?? "",
    }, signal),
    (page) => page.nextCursor,
    [id],
  );
  const columns = [
    { name: "Person", cell: (each) => html`<strong>${userLink(each.id, each.userName)}</strong>` },
    { name: "Name", cell: (each) => each.displayName || html`<span class="muted">none</span>` },
    { name: "Member", cell: (each) => (each.groups?.find((of) => of.value === id)?.type === "indirect" ? "through another group" : "directly") },
    { name: "State", kind: "fit", cell: (each) => (each.active === false ? html`<${Badge} tone="warn">suspended<//>` : html`<${Badge} tone="ok">active<//>`) },
  ];
  return html`<${Loaded} of=${pages} empty=${{ title: "No members", icon: "people" }} isEmpty=${(page) => !page.Resources?.length}>
    ${(page) => html`
      <${Table} caption="Members" columns=${columns} rows=${page.Resources} rowKey=${(each) => each.id} />
      <${Pager} pages=${pages} text=${count(page.totalResults, "person", "people")} />
    `}
  <//>`;
}
