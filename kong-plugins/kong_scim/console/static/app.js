// The frame: session, navigation, theme, and which page is shown.
import { html, render, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { openSession } from "./api.js";
import { Icon } from "./icons.js";
import { Announcements, Failure } from "./ui.js";
import { useTheme } from "./theme.js";
import { Overview } from "./pages/overview.js";
import { People } from "./pages/people.js";
import { Person } from "./pages/person.js";
import { Group, Groups } from "./pages/groups.js";
import { ProviderLog } from "./pages/provider-log.js";
import { Drift } from "./pages/drift.js";
import { Quarantine } from "./pages/quarantine.js";
import { Deliveries } from "./pages/deliveries.js";
import { Mapping } from "./pages/mapping.js";
import { AccessReview } from "./pages/access-review.js";

const PAGES = [
  ["overview", "Overview", Overview],
  ["people", "People", People, Person],
  ["groups", "Groups", Groups, Group],
  ["log", "Provider log", ProviderLog],
  ["drift", "Drift", Drift],
  ["quarantine", "Quarantine", Quarantine],
  ["deliveries", "Deliveries", Deliveries],
  ["mapping", "Mapping preview", Mapping],
  ["review", "Access review", AccessReview],
];

function useRoute() {
  const read = () => location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const [route, setRoute] = useState(read);
  useEffect(() => {
    const listener = () => setRoute(read());
    addEventListener("hashchange", listener);
    return () => removeEventListener("hashchange", listener);
  }, []);
  return route;
}

function Navigation({ current, open, onChosen }) {
  return html`<nav id="navigation" class=${open ? "nav open" : "nav"} aria-label="Pages of the console">
    <ul>
      ${PAGES.map(([name, title]) => html`<li>
        <a href=${`#/${name}`} aria-current=${name === current ? "page" : undefined} onClick=${onChosen}>
          <${Icon} name=${name} />${title}
        </a>
      </li>`)}
    </ul>
  </nav>`;
}

function Frame({ session }) {
  const [name, id] = useRoute();
  const [open, setOpen] = useState(false);
  const [theme, toggleTheme] = useTheme();
  const main = useRef(null);
  const first = useRef(true);
  const [, , List, One] = PAGES.find(([each]) => each === name) ?? PAGES[0];
  const current = PAGES.some(([each]) => each === name) ? name : "overview";
  useEffect(() => {
    // A reader of the screen begins with the new page's title.
    if (!first.current) main.current.querySelector("h1")?.focus({ preventScroll: true });
    first.current = false;
    scrollTo(0, 0);
  }, [name, id]);
  const dark = theme === "dark";
  return html`
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>Skip to the content</a>
    <header class="bar">
      <button class="icon-button menu" aria-expanded=${open ? "true" : "false"} aria-controls="navigation" aria-label="Menu"
        onClick=${() => setOpen(!open)}><${Icon} name="menu" /></button>
      <a class="brand" href="#/overview"><img src="/static/icon.svg" alt="" width="26" height="26" />Kong SCIM</a>
      <span class="gateway" title="The gateway that this console shows">${session.gateway}</span>
      ${session.user && html`<span class="user">${session.user}</span>`}
      <button class="icon-button" aria-label=${dark ? "Use the light theme" : "Use the dark theme"} onClick=${toggleTheme}>
        <${Icon} name=${dark ? "sun" : "moon"} />
      </button>
    </header>
    <div class="frame">
      <${Navigation} current=${current} open=${open} onChosen=${() => setOpen(false)} />
      <main id="main" tabindex="-1" ref=${main}>
        ${id && One ? html`<${One} key=${id} id=${id} />` : html`<${List} key=${current} theme=${theme} />`}
      </main>
    </div>
    <${Announcements} />
  `;
}

function App() {
  const [state, setState] = useState({});
  useEffect(() => {
    openSession().then(
      (session) => setState({ session }),
      (error) => setState({ error }),
    );
  }, []);
  if (state.session) return html`<${Frame} session=${state.session} />`;
  if (!state.error) return null;
  return html`<main class="bare">
    <h1>Kong SCIM console</h1>
    <${Failure} error=${state.error} />
  </main>`;
}

render(html`<${App} />`, document.getElementById("app"));
