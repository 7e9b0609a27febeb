// The icons, drawn on a grid of 24 by lines.
import { html } from "./vendor/preact-htm.js";

const PATHS = {
  overview: "M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-4H4zM14 8h6V4h-6z",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c0-3.6 2.9-6 6.5-6s6.5 2.4 6.5 6M16 4.5a3.5 3.5 0 0 1 0 6.5M18 14.5c2.1.9 3.5 2.9 3.5 5.5",
  groups: "M12 8a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM5 21a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM19 21a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM12 8v4M12 12H5v4M12 12h7v4",
  log: "M5 4h14v16H5zM9 9h6M9 13h6M9 17h3",
  drift: "M4 8h11l-3-3M20 16H9l3 3",
  quarantine: "M12 3l8 3v6c0 4.5-3.2 7.7-8 9-4.8-1.3-8-4.5-8-9V6zM12 9v4M12 16.5v.1",
  deliveries: "M3 12l18-8-6 17-4-7zM11 14l4-4",
  mapping: "M4 6h6M4 18h6M14 12h6M10 6c3 0 2 6 4 6M10 18c3 0 2-6 4-6M17 9l3 3-3 3",
  review: "M9 4h6v3H9zM9 5.500H5V21h14V5.500h-4M8.500 14l2.500 2.500 4.500-5",
  search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13zM20 20l-4.800-4.800",
  check: "M5 12.500l4.500 4.500L19 7.500",
  warning: "M12 4l9 16H3zM12 10v4.500M12 17.200v.1",
  cross: "M6.500 6.500l11 11M17.500 6.500l-11 11",
  back: "M14 6l-6 6 6 6",
  menu: "M4 7h16M4 12h16M4 17h16",
  moon: "M20 14.500A8 8 0 1 1 9.500 4a6.500 6.500 0 0 0 10.500 10.500z",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M18.700 5.300l-1.400 1.400M6.700 17.300l-1.400 1.400",
  download: "M12 4v11M7.500 10.500L12 15l4.500-4.500M5 20h14",
  reload: "M19.500 12a7.500 7.500 0 1 1-2.200-5.300L19.500 9M19.500 4v5h-5",
  arrow: "M5 12h13M13 7l5 5-5 5",
};

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
}
