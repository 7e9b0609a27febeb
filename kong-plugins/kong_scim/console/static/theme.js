// Dark or light: what the system says, until the user chooses.
import { useEffect, useState } from "./vendor/preact-htm.js";

const CHOSEN = "kong-scim-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

const current = () => localStorage.getItem(CHOSEN) ?? (system.matches ? "dark" : "light");

document.documentElement.dataset.theme = current();

export function useTheme() {
  const [theme, setTheme] = useState(current);
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  useEffect(() => {
    const listener = () => setTheme(current());
    system.addEventListener("change", listener);
    return () => system.removeEventListener("change", listener);
  }, []);
  const toggle = () => {
    const other = theme === "dark" ? "light" : "dark";
    localStorage.setItem(CHOSEN, other);
    // At once, and not after the next rendering: charts read the colours then.
    document.documentElement.dataset.theme = other;
    setTheme(other);
  };
  return [theme, toggle];
}
