"""A pass in the background on a whole gateway: a changed mapping reaches everybody by it."""

from __future__ import annotations

from typing import Any

from drift_support import drift
from prometheus_client.parser import text_string_to_metric_families

from hosts import Gateway, eventually
from outbox import events
from scim_traffic import new_group, new_user
from variants import variant

TENANT = "mapped"


def last_pass(gateway: Gateway) -> dict[str, Any] | None:
    answer = gateway.scim.get("/Drift").raise_for_status().json()
    found: dict[str, Any] | None = answer["pass"]
    return found


def gauges(gateway: Gateway) -> dict[str, float]:
    """Return the gauges of drift of the tenant, by kind, and the age of the last pass."""
    page, *_ = gateway.metrics()
    return {
        sample.labels.get("kind", sample.name): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith("kong_scim_drift") and sample.labels["tenant"] == TENANT
    }


def test_it_applies_a_changed_mapping_to_everybody_at_once(gateway: Gateway) -> None:
    config: dict[str, Any] = {"tenant": TENANT, "reconcile": {"every": 15}}
    with variant(gateway, **config) as before:
        ann = new_user(before.scim)
        group = new_group(before.scim, ann["id"])["displayName"]
        eventually(lambda: last_pass(before) is not None, "the first pass")
        assert drift(before.scim) == []
        overview = before.scim.get("/Overview").raise_for_status().json()
        assert overview["drift"] == {"total": 0, "byKind": {}, "lastPass": last_pass(before)}
        if gateway.host.dbless:
            return  # it applies everybody anew when it is configured
        config["reconcile"]["mode"] = "mend"
        with variant(gateway, **config, groups={"prefix": "new:"}) as after:
            eventually(lambda: gateway.groups_of(ann["id"]) == {f"new:{group}"}, "the new name")
            eventually(lambda: (last_pass(after) or {}).get("mended") == 1, "the end of the pass")
            about_drift = [each for each in events(after) if each["resourceType"] == "Drift"]
            assert [each["operation"] for each in about_drift] == ["mended"]
            eventually(lambda: "mapping_changed" in gauges(gateway), "the metrics")
            shown = gauges(gateway)
            assert (shown["mapping_changed"], shown["consumer_missing"]) == (0, 0)
            assert shown["kong_scim_drift_pass_age_seconds"] < 300
