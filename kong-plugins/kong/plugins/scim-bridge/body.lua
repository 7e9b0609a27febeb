-- The body of a request, read by Nginx: before the plugin server hears of the request, because a client that
-- sends it slowly, or goes away in the middle, would hold a worker there.

local kong = kong


local _M = {}


function _M.over_https()
  return kong.request.get_forwarded_scheme():find("^https%f[%A]") ~= nil
end


local function is_announced_over(max_size)
  return (tonumber(kong.request.get_header("content-length")) or 0) > max_size
end


--- Waits for the body, unless the plugin would answer without it.
-- @param conf The configuration of the plugin `scim`.
function _M.await(conf)
  if (_M.over_https() or conf.require_https == false) and not is_announced_over(conf.max_body_size) then
    local ok, err = pcall(ngx.req.read_body)
    if not ok then -- begin meets the same, and says it as a SCIM error
      kong.log.warn("the body could not be read: ", err)
    end
  end
end


--- The body, or nil where it is larger than allowed.
function _M.get(max_size)
  if is_announced_over(max_size) then
    return
  end

  -- with a limit, a body that Nginx buffered to a file is read too (kong/pdk/request.lua)
  local body, err = kong.request.get_raw_body(max_size)
  if not body and not err:find("file too big", 1, true) then
    error("the body could not be read: " .. err)
  end

  return body and #body <= max_size and body or nil
end


return _M
