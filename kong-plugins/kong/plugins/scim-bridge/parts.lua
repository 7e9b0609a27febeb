-- Joins the parts of a large argument. Kong reads a message in a time that grows with the square of its
-- length (docs/kong.md), so the plugin server sends all parts but the last by kong.scim.part.

local LONGEST = 67108864 -- bytes of all parts


local _M = {}


--- kong.scim.part keeps a part of the argument of the next call in this request.
function _M.part(text)
  local ctx = ngx.ctx
  local parts = ctx.scim_parts or { size = 0 }
  ctx.scim_parts = parts
  if type(text) == "string" then
    parts.size = parts.size + #text
    parts[#parts + 1] = parts.size <= LONGEST and text or nil
  end

  return '{"ok":{}}'
end


--- Returns an argument with its earlier parts; or nil if they are too long.
function _M.joined(text)
  local ctx = ngx.ctx
  local parts = ctx.scim_parts
  if not parts then
    return text
  end

  ctx.scim_parts = nil
  if parts.size <= LONGEST and type(text) == "string" then
    parts[#parts + 1] = text
    return table.concat(parts)
  end
end


return _M
