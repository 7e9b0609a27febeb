// Calls the console's own server, and keeps what a page shows of it.
import { useCallback, useEffect, useRef, useState } from "./vendor/preact-htm.js";

const KEY = "kong-scim-console";

/** An answer that is an error: its status, its sentence, and whether the console itself gave it. */
export class CallError extends Error {
  constructor(status, body, path) {
    super(sentence(status, body, path));
    this.status = status;
    this.ofConsole = body?.by === "console";
    this.path = path;
  }
}

function sentence(status, body, path) {
  const detail = typeof body?.detail === "string" ? body.detail : "";
  if (detail.startsWith("There is no SCIM endpoint at")) {
    return `This gateway does not serve ${path}. Its plugin server is of an older release than this console.`;
  }
  return detail || `${path} was answered ${status} without a reason.`;
}

async function send(method, url, { query, body, signal } = {}) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
  const search = new URLSearchParams(given).toString();
  const headers = { Accept: "application/json", "X-Console-Key": localStorage.getItem(KEY) ?? "" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(search ? `${url}?${search}` : url, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const detail = "The console does not answer: was kong-scim console stopped?";
    throw new CallError(0, { detail, by: "console" }, url);
  }
  const found = await answer.json().catch(() => null);
  if (!answer.ok) throw new CallError(answer.status, found, url.replace(/^\/api/, ""));
  return found;
}

export const get = (path, query, signal) => send("GET", `/api${path}`, { query, signal });
export const post = (path, body, signal) => send("POST", `/api${path}`, { body, signal });

/** Begin a session if the address has a secret, and return who is logged in where. */
export async function openSession() {
  const secret = new URLSearchParams(location.hash.slice(1)).get("secret");
  if (secret !== null) {
    history.replaceState(null, "", "/");
    const { key } = await send("POST", "/session", { body: { secret } });
    localStorage.setItem(KEY, key);
  }
  return send("GET", "/session");
}

/** What `load(signal)` returns, loaded again when one of `deps` changes or at `reload()`. */
export function useLoaded(load, deps) {
  const [state, setState] = useState({ data: null, error: null, loading: true });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const aborter = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    load(aborter.signal).then(
      (data) => !aborter.signal.aborted && setState({ data, error: null, loading: false }),
      (error) => !aborter.signal.aborted && setState({ data: null, error, loading: false }),
    );
    return () => aborter.abort();
  }, [...deps, round]);
  const reload = useCallback(() => setRound((before) => before + 1), []);
  return { ...state, reload };
}

/** A list of which one page at a time is loaded: `load(cursor, signal)` returns a page, and
    `next(page)` the cursor of the one after it, or null. */
export function usePages(load, next, deps) {
  const [cursors, setCursors] = useState([null]);
  const known = useRef(deps);
  const changed = deps.some((each, index) => each !== known.current[index]);
  known.current = deps;
  const current = changed ? [null] : cursors;
  useEffect(() => setCursors([null]), deps);
  const cursor = current[current.length - 1];
  const loaded = useLoaded((signal) => load(cursor, signal), [...deps, cursor]);
  const following = loaded.data ? (next(loaded.data) ?? null) : null;
  return {
    ...loaded,
    number: current.length,
    previous: current.length > 1 ? () => setCursors(current.slice(0, -1)) : null,
    next: following === null ? null : () => setCursors([...current, following]),
  };
}

const MOST_PARTS = 200;

/** Load parts until one has something in it, or there are no more: the gateway looks at so many
    people for an answer, of whom none may fit. */
export async function untilSome(load, name, cursor) {
  let part = await load(cursor);
  for (let parts = 1; part[name].length === 0 && part.next && parts < MOST_PARTS; parts += 1) {
    part = await load(part.next);
  }
  return part;
}

/** A value that follows another one when that has not changed for a while: for typing. */
export function useSettled(value, milliseconds = 200) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}
