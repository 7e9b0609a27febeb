// Bars by the hour, with the same numbers as a table for those who cannot see them.
import { html, useEffect, useRef } from "./vendor/preact-htm.js";
import uPlot from "./vendor/uplot.js";
import { number } from "./format.js";

const HEIGHT = 160;

/** `series`: {name, values, colour: the name of a CSS variable}; the first is drawn behind the others. */
export function Chart({ title, hours, series, theme }) {
  const box = useRef(null);
  const values = JSON.stringify([hours, ...series.map((each) => each.values)]);
  useEffect(() => {
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const seconds = hours.map((hour) => new Date(hour).getTime() / 1000);
    const highest = Math.max(4, ...series.flatMap((each) => each.values));
    const axis = { stroke: colour("--muted"), font: "12px system-ui, sans-serif", ticks: { show: false } };
    const bars = uPlot.paths.bars({ size: [0.7, 28], radius: 0.2 });
    const plot = new uPlot(
      {
        width: box.current.clientWidth,
        height: HEIGHT,
        cursor: { show: false },
        legend: { show: false },
        padding: [8, 4, 0, 0],
        scales: { y: { range: [0, highest * 1.08] } },
        axes: [
          { ...axis, grid: { show: false }, size: 26, space: 56,
            values: (_, splits) => splits.map((each) => new Date(each * 1000).toTimeString().slice(0, 5)) },
          { ...axis, grid: { stroke: colour("--line"), width: 1 }, size: 42, space: 34,
            values: (_, splits) => splits.map((each) => (Number.isInteger(each) ? number(each) : "")) },
        ],
        series: [{}, ...series.map((each) => ({
          label: each.name, fill: colour(each.colour), stroke: colour(each.colour), width: 0, paths: bars, points: { show: false },
        }))],
      },
      [seconds, ...series.map((each) => each.values)],
      box.current,
    );
    const observer = new ResizeObserver(() => box.current && plot.setSize({ width: box.current.clientWidth, height: HEIGHT }));
    observer.observe(box.current);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [values, theme]);
  const total = (each) => each.values.reduce((sum, value) => sum + value, 0);
  return html`<figure class="chart">
    <figcaption>
      <span class="chart-title">${title}</span>
      ${series.map((each) => html`<span class=${`key ${each.colour.slice(2)}`}>${each.name}: ${number(total(each))}</span>`)}
    </figcaption>
    <div class="plot" ref=${box} aria-hidden="true"></div>
    <details>
      <summary>As a table</summary>
      <table class="plain">
        <thead><tr><th scope="col">Hour</th>${series.map((each) => html`<th scope="col">${each.name}</th>`)}</tr></thead>
        <tbody>
          ${hours.map((hour, index) => html`<tr>
            <th scope="row">${new Date(hour).toTimeString().slice(0, 5)}</th>
            ${series.map((each) => html`<td>${number(each.values[index])}</td>`)}
          </tr>`)}
        </tbody>
      </table>
    </details>
  </figure>`;
}
