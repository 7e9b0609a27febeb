-- The methods that control planes and data planes call of each other over Kong's channel, and how long a
-- piece of a message is.

local CAPABILITY = "kong.scim.v1" -- another release with other methods has another one


return {
  CAPABILITY = CAPABILITY,
  -- of a control plane
  CALL = CAPABILITY .. ".call",
  REST = CAPABILITY .. ".rest",
  STATE = CAPABILITY .. ".state",
  -- of a data plane
  ACCESS = CAPABILITY .. ".access",

  PIECE = 1048576, -- bytes; far below cluster_max_payload (16 MiB), so that other messages need not wait long
}
