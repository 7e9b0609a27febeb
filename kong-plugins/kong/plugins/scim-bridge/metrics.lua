-- Counts what this node does for SCIM, in the registry of the prometheus plugin
-- (kong/plugins/prometheus/exporter.lua). Kong's /metrics shows it if that plugin is enabled.

local envelope = require "kong.plugins.scim-bridge.envelope"
local internals = require "kong.plugins.scim-bridge.kong_internals"
local operation_of = require "kong.plugins.scim-bridge.operations"
local paths = require "kong.plugins.scim-bridge.paths"


local kong = kong


local LATENCIES = { 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000 } -- ms, as Kong's own

-- by the name that the plugin server uses (kong_scim/events/metrics.py): type, name without the prefix
-- "kong_", help, labels, and the buckets of a histogram
local METRICS = {
  requests = { "counter", "scim_requests_total", "SCIM requests by operation and HTTP status",
               { "tenant", "operation", "status" } },
  latency = { "histogram", "scim_request_latency_ms", "Total latency of SCIM requests in milliseconds",
              { "tenant", "operation" }, LATENCIES },
  refused = { "counter", "scim_suspended_refused_total", "Requests of suspended consumers that were refused",
              { "tenant" } },
  guarded = { "gauge", "scim_guard_enabled", "Whether scim-bridge guards every route of this node: 1, or 0",
              { "tenant" } },
  long_way = { "counter", "scim_long_way_total",
               "Requests whose body was not in canonical form, which take several times as long to read",
               { "tenant" } },
  events = { "counter", "scim_events_total", "Events sealed by this node, once for each of their types",
             { "tenant", "type" } },
  deliveries = { "counter", "scim_deliveries_total",
                 "Attempts to deliver events made by this node: delivered, failed or dead",
                 { "tenant", "target", "result" } },
  failures = { "counter", "scim_failures_total",
               "Failures of this node's work beside requests, by job, and by the webhook they are about",
               { "tenant", "job", "target" } },
  outbox_pending = { "gauge", "scim_outbox_pending", "Events that wait to be sealed", { "tenant" } },
  outbox_oldest = { "gauge", "scim_outbox_oldest_seconds", "Age of the oldest of them", { "tenant" } },
  deliveries_pending = { "gauge", "scim_deliveries_pending", "Deliveries that wait for their target",
                         { "tenant", "target" } },
  deliveries_oldest = { "gauge", "scim_deliveries_oldest_seconds", "Age of the oldest of them",
                        { "tenant", "target" } },
  drift = { "gauge", "scim_drift", "Differences between what SCIM wants and what Kong has, by kind",
            { "tenant", "kind" } },
  drift_pass_age = { "gauge", "scim_drift_pass_age_seconds", "Age of the last pass that searched for them",
                     { "tenant" } },
  measured = { "gauge", "scim_measured_timestamp_seconds",
               "When this node's plugin server measured the gauges of SCIM last", { "tenant" } },
}


local _M = {}


local metrics = {}


function _M.init_worker()
  if ngx.config.subsystem ~= "http" or not kong.configuration.loaded_plugins.prometheus then
    return
  end

  local prometheus = internals.prometheus()
  for key, metric in pairs(prometheus and METRICS or {}) do
    metrics[key] = prometheus[metric[1]](prometheus, metric[2], metric[3], metric[4], metric[5])
  end
end


--- Counts a request of a route that has the plugin `scim`, in its log phase.
function _M.request(tenant)
  if metrics.requests then
    local _, path = paths.split()
    local operation = operation_of(kong.request.get_method(), path)
    metrics.requests:inc(1, { tenant, operation, kong.response.get_status() })
    metrics.latency:observe((tonumber(ngx.var.request_time) or 0) * 1000, { tenant, operation })
  end
end


--- Counts a request of a suspended consumer.
function _M.refused(tenant)
  if metrics.refused then
    metrics.refused:inc(1, { tenant or "" })
  end
end


--- Sets the gauge that tells whether the guard is on for every route of a tenant's workspace.
function _M.guarded(tenant, is_guarded)
  if metrics.guarded then
    metrics.guarded:set(is_guarded and 1 or 0, { tenant })
  end
end


--- kong.scim.report takes the counts since the plugin server's last report, and its gauges.
function _M.report(arg)
  local samples = envelope.expect(type(arg.samples) == "table" and arg.samples, "`samples` must be a list")
  for _, sample in ipairs(samples) do
    local declared = type(sample) == "table" and type(sample.metric) == "string" and METRICS[sample.metric]
    envelope.expect(declared and declared[1] ~= "histogram" and type(sample.value) == "number"
                    and type(sample.labels) == "table" and #sample.labels == #declared[4],
                    "a sample needs the name of a `metric`, its `labels` and a `value`")
    local metric = metrics[sample.metric]
    if metric then
      metric[declared[1] == "counter" and "inc" or "set"](metric, sample.value, sample.labels)
    end
  end

  return {}
end


--- Resets all gauges, because a tenant or a target of one may no longer exist.
function _M.forget()
  for key, metric in pairs(metrics) do
    if METRICS[key][1] == "gauge" then
      metric:reset()
    end
  end
end


return _M
