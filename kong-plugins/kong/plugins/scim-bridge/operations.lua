-- Returns the operation of a SCIM request for the label of a metric. It is one of the words in
-- docs/operations.md, so that clients cannot make the metric grow.

local KINDS = { users = "users", groups = "groups", events = "events" }

local VERBS = {
  collection = { GET = "list", HEAD = "list", POST = "create" },
  resource   = { GET = "read", HEAD = "read", PUT = "replace", PATCH = "patch", DELETE = "delete" },
}

local OTHERS = {
  ["accessreview"]          = "access-review",
  ["serviceproviderconfig"] = "discovery",
  ["resourcetypes"]         = "discovery",
  ["schemas"]               = "discovery",
  ["openapi.json"]          = "discovery",
  ["jwks.json"]             = "discovery",
  ["doctor"]                = "doctor",
  ["bulk"]                  = "bulk",
  ["me"]                    = "me",
  [".search"]               = "search",
  ["drift"]                 = "drift",
  ["mapping"]               = "mapping",
  ["overview"]              = "overview",
  ["people"]                = "people",
  ["requests"]              = "requests",
}

local OF_EVENTS = {
  ["chain"]      = "events.chain",
  ["deliveries"] = "events.deliveries",
  ["poll"]       = "events.poll",
}


--- Returns the word for a request.
-- @param path below the route's prefix, such as "/Users/<id>"
return function(method, path)
  local first, second = path:lower():match("^/([^/]*)/?([^/]*)")
  local kind = KINDS[first]
  if not kind then
    return OTHERS[first] or (first == "" and method == "GET" and "search") or "other"
  elseif second == ".search" then
    return kind .. ".search"
  elseif kind == "events" and OF_EVENTS[second] then
    return OF_EVENTS[second]
  end

  local verb = VERBS[second == "" and "collection" or "resource"][method]
  return verb and kind .. "." .. verb or "other"
end
