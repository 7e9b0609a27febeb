-- Splits a request's path into the part that matched the route, and the rest.

local kong = kong


local _M = {}


local function matched_prefix(path, prefix)
  if prefix:sub(1, 1) == "~" then -- a regex
    local m = ngx.re.match(path, "^(?:" .. prefix:sub(2) .. ")", "jou")
    return m and m[0] or ""
  end

  return path:find(prefix, 1, true) == 1 and prefix or ""
end


--- Returns the part that matched without a slash at its end, and the rest, which begins with a slash.
-- X-Forwarded-Prefix is no substitute: it is empty without strip_path, and may be the client's.
function _M.split()
  local route = kong.router.get_route() or {}
  local path = kong.request.get_path() -- what the router matches
  local prefix = route.expression and matched_prefix(path, ngx.var.upstream_x_forwarded_prefix or "") or ""

  for _, candidate in ipairs(route.paths or {}) do
    local matched = matched_prefix(path, candidate)
    prefix = #matched > #prefix and matched or prefix
  end

  local raw = kong.request.get_raw_path()
  path = raw:find(prefix, 1, true) == 1 and raw or path
  prefix = prefix:gsub("/+$", "")
  return prefix, (path:sub(#prefix + 1):gsub("^/?", "/", 1))
end


return _M
