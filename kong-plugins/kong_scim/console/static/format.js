// Writes times, numbers and events in words.

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];

export const number = (value) => new Intl.NumberFormat("en").format(value ?? 0);
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

/** "2026-11-29 10:58:57Z": as the command line prints it. */
export function moment(text) {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? String(text ?? "") : `${date.toISOString().slice(0, 19).replace("T", " ")}Z`;
}

export function ago(text) {
  const seconds = (new Date(text).getTime() - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return String(text ?? "");
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return RELATIVE.format(Math.trunc(seconds / size), unit);
  }
  return Math.abs(seconds) < 5 ? "just now" : RELATIVE.format(Math.trunc(seconds), "second");
}

const KINDS = {
  consumer_missing: "Consumer is missing",
  consumer_renamed: "Consumer was renamed",
  consumer_untagged: "Consumer lost its tag",
  consumer_taken: "Name belongs to another consumer",
  group_missing: "Group is missing",
  group_extra: "Group too many",
  not_suspended: "Should be suspended",
  credentials_left: "Credentials are left",
  consumer_orphaned: "Consumer without a user",
  mapping_changed: "Mapping changed",
};
export const kindOfDrift = (kind) => KINDS[kind] ?? kind.replaceAll("_", " ");

const CREDENTIALS = {
  keyauth_credentials: "API key",
  "key-auth": "API key",
  jwt_secrets: "JWT secret",
  jwt: "JWT secret",
  basicauth_credentials: "Basic auth password",
  "basic-auth": "Basic auth password",
  hmacauth_credentials: "HMAC secret",
  "hmac-auth": "HMAC secret",
  oauth2_credentials: "OAuth 2.0 client",
  oauth2: "OAuth 2.0 client",
};
export const credential = (kind) => CREDENTIALS[kind] ?? kind;

/** What an event changed for one user, in the words of `kong-scim audit --user`. */
export function changeOf(event, id) {
  const changes = [];
  if (event.resourceId === id) {
    if (["create", "delete"].includes(event.operation)) changes.push(event.operation);
    changes.push(...(event.actions ?? []).filter((each) => each !== "credentials-revoke"));
    for (const each of event.credentials ?? []) changes.push(`revoked ${count(each.count, credential(each.kind))}`);
    if (changes.length === 0) changes.push(event.operation);
  } else {
    if (event.joined?.includes(id)) changes.push("joined a group");
    if (event.left?.includes(id)) changes.push("left a group");
    if (changes.length === 0) changes.push(`${event.operation} of a ${event.resourceType?.toLowerCase() ?? "resource"}`);
  }
  const user = (event.users ?? []).find((each) => each.value === id) ?? {};
  return {
    text: changes.join(", "),
    added: user.added ?? [],
    removed: user.removed ?? [],
    suspended: user.suspended === true,
    dryRun: event.dryRun === true,
  };
}

/** A line of CSV. A spreadsheet takes a value that begins like a formula as text. */
export function csvLine(values) {
  const cell = (value) => {
    let text = String(value ?? "");
    if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${values.map(cell).join(",")}\r\n`;
}
