"""Finds the vault references in a configuration as Kong sends it, and the secrets that are none."""

from __future__ import annotations

from typing import Any


def references(raw: dict[str, Any]) -> dict[str, str]:
    """Return the vault reference of each token that has one, by the token's name.

    Kong resolves references before it starts an instance, and leaves the reference itself in
    ``$refs``, also inside nested records. The resolved value goes stale, so the plugin gets the
    live one with each request (docs/kong.md#vault-values-go-stale).
    """
    found = {}
    tokens = raw.get("tokens")
    for token in tokens if isinstance(tokens, list) else []:
        if not isinstance(token, dict) or not isinstance(token.get("name"), str):
            continue
        reference = _reference(token, "value")
        if reference and not token.get("file") and not token.get("sha256"):
            found[token["name"]] = reference
    return found


def event_references(raw: dict[str, Any]) -> dict[str, str]:
    """Return the vault references of the secrets that sign events.

    :return: The reference of a webhook's secret by the webhook's name, and that of
        ``events.signing_key`` by an empty name.
    """
    events = raw.get("events")
    if not isinstance(events, dict):
        return {}
    found = {"": _reference(events, "signing_key")}
    for webhook in events.get("webhooks") or []:
        if isinstance(webhook, dict) and isinstance(webhook.get("name"), str):
            found[webhook["name"]] = _reference(webhook, "secret")
    return {name: reference for name, reference in found.items() if reference}


def secrets_in_clear(raw: dict[str, Any]) -> list[str]:
    """Return the fields whose value is a secret itself, and not a reference to a vault.

    They are named as ``config.tokens[okta].value``. No value is returned.
    """
    events = raw.get("events")
    events = events if isinstance(events, dict) else {}
    records: list[tuple[str, Any, str]] = [("config.events", events, "signing_key")]
    for path, entries, field in (
        ("config.tokens", raw.get("tokens"), "value"),
        ("config.events.webhooks", events.get("webhooks"), "secret"),
    ):
        for each in entries if isinstance(entries, list) else []:
            name = each.get("name", "?") if isinstance(each, dict) else "?"
            records.append((f"{path}[{name}]", each, field))
    return [
        f"{path}.{field}"
        for path, record, field in records
        if isinstance(record, dict) and record.get(field) and not _reference(record, field)
    ]


def _reference(record: dict[str, Any], field: str) -> str | None:
    reference: str | None = (record.get("$refs") or {}).get(field)
    if not reference and str(record.get(field, "")).startswith("{vault://"):
        reference = record[field]
    return reference


def with_references(raw: dict[str, Any]) -> dict[str, Any]:
    """Use references as the values of secrets that have none, so that the configuration is valid.

    The vault may have a value by the next request.
    """
    return _with_event_references(_with_token_references(raw))


def _with_token_references(raw: dict[str, Any]) -> dict[str, Any]:
    known = references(raw)

    def with_value(token: Any) -> Any:
        if not isinstance(token, dict) or token.get("value"):
            return token
        if token.get("file") or token.get("sha256"):
            return {key: item for key, item in token.items() if key != "value"}
        return {**token, "value": known.get(str(token.get("name")))}

    tokens = raw.get("tokens")
    if not isinstance(tokens, list):
        return raw
    return {**raw, "tokens": [with_value(token) for token in tokens]}


def _with_event_references(raw: dict[str, Any]) -> dict[str, Any]:
    """Do the same for the secrets that sign events, so that a file beside a reference is
    refused."""
    events = raw.get("events")
    if not isinstance(events, dict):
        return raw

    def with_value(record: Any, field: str) -> Any:
        known = isinstance(record, dict) and not record.get(field) and _reference(record, field)
        return {**record, field: known} if known else record

    webhooks = events.get("webhooks")
    if isinstance(webhooks, list):
        events = {**events, "webhooks": [with_value(each, "secret") for each in webhooks]}
    return {**raw, "events": with_value(events, "signing_key")}
