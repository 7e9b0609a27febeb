// How the tenant stands: what needs a decision first, then the numbers of the last day.
import { html, useEffect } from "../vendor/preact-htm.js";
import { get, useLoaded } from "../api.js";
import { Chart } from "../chart.js";
import { count, number } from "../format.js";
import { Icon } from "../icons.js";
import { Badge, Card, Loaded, Page, Time } from "../ui.js";

const EVERY = 15000;

export function Overview({ theme }) {
  const overview = useLoaded((signal) => get("/Overview", {}, signal), []);
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && overview.reload(), EVERY);
    return () => clearInterval(timer);
  }, []);
  return html`<${Page} title="Overview">
    <${Loaded} of=${overview}>${(data) => html`<${Shown} data=${data} theme=${theme} />`}<//>
  <//>`;
}

function Tile({ title, href, value, children }) {
  return html`<a class="tile" href=${href}>
    <span class="tile-title">${title}<${Icon} name="arrow" /></span>
    <span class="tile-value">${value}</span>
    <span class="tile-text">${children}</span>
  </a>`;
}

function driftState(drift) {
  if (!drift) return html`<${Badge}>not looked at yet<//>`;
  return drift.total ? html`<${Badge} tone="warn">Kong differs<//>` : html`<${Badge} tone="ok">Kong agrees<//>`;
}

const QUARANTINE = {
  off: ["plain", "off"],
  open: ["ok", "open"],
  quarantined: ["bad", "needs a decision"],
  approved: ["warn", "approved for a while"],
  rejected: ["warn", "rejected for a while"],
};

function Shown({ data, theme }) {
  const { drift, quarantine, deliveries, lastRequest: last, day } = data;
  const [tone, state] = QUARANTINE[quarantine.state] ?? ["plain", quarantine.state];
  const hours = day.map((each) => each.hour);
  const series = (name, field, colour) => ({ name, colour, values: day.map((each) => each[field]) });
  return html`
    <div class="tiles">
      <${Tile} title="People" href="#/people" value=${number(data.people)}>
        ${data.suspended ? `${number(data.suspended)} suspended` : "nobody is suspended"}
      <//>
      <${Tile} title="Groups" href="#/groups" value=${number(data.groups)}>of the identity provider<//>
      <${Tile} title="Drift" href="#/drift" value=${drift ? number(drift.total) : "–"}>${driftState(drift)}<//>
      <${Tile} title="Quarantine" href="#/quarantine" value=${number(quarantine.held)}>
        <${Badge} tone=${tone}>${state}<//>
      <//>
      <${Tile} title="Deliveries" href="#/deliveries" value=${number(deliveries.pending)}>
        ${deliveries.dead
          ? html`<${Badge} tone="bad">${count(deliveries.dead, "was given up", "were given up")}<//>`
          : html`<${Badge} tone="ok">none was given up<//>`}
      <//>
    </div>
    <div class="grid">
      <${Card} title="Last request of the provider" wide>
        ${last ? html`<${LastRequest} last=${last} />` : html`<p class="muted">The provider has not sent a request yet.</p>`}
      <//>
      <${Card} title="Requests of the last day">
        <${Chart} title="By the hour" hours=${hours} theme=${theme}
          series=${[series("requests", "requests", "--chart-1"), series("failed", "failed", "--chart-2")]} />
      <//>
      <${Card} title="Changes of the last day">
        <${Chart} title="By the hour" hours=${hours} theme=${theme} series=${[series("changes", "changes", "--chart-3")]} />
      <//>
    </div>
    <p class="versions muted">
      Plugin ${data.version.plugin} · scim-bridge ${data.version.bridge} · Kong ${data.version.kong}
    </p>
  `;
}

function LastRequest({ last }) {
  const failed = last.status >= 400;
  return html`<p class="last">
    <${Badge} tone=${failed ? "bad" : "ok"}>${last.status}<//>
    <code>${last.method} ${last.path}</code>
    <span><${Time} at=${last.at} /> ${last.token ? html`with the token <strong>${last.token}</strong>` : "without a valid token"}${last.provider && ` (${last.provider})`}</span>
    <a href="#/log">Provider log</a>
  </p>`;
}
