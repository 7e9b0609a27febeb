-- Sends the statements of a transaction to PostgreSQL in as few messages as there are answers to wait for.
-- A statement waits until an answer is needed (`flush`), and then all that wait go as one message, of which
-- PostgreSQL runs nothing after the first error.

local envelope = require "kong.plugins.scim-bridge.envelope"
local sql = require "kong.plugins.scim-bridge.sql"


local MESSAGE = 262144 -- bytes of a message from which it is sent, so that Kong does not wait too long for it


local Batch = {}
Batch.__index = Batch


local _M = {}


--- Raises the error of a message for the step whose statement failed, or for none if that was the COMMIT.
-- @param answered how many statements succeeded; nil if the connection was lost
local function fail(self, waiting, err, answered)
  local failed = waiting[#waiting]
  if answered or not failed.ends then
    local i = 1
    while i < #waiting and (answered or 0) >= waiting[i].statements do
      answered, i = answered - waiting[i].statements, i + 1
    end
    failed = waiting[i]
  end

  local _, raised = pcall(sql.raise, self.conn, err)
  -- PostgreSQL refuses a message with a syntax error as a whole, and a set is of several steps
  if self.together and not failed.ends and (raised.code > 0 or raised.name == "BAD_REQUEST") then
    raised.is_unclear = true
  end
  if failed.step then
    raised.step, raised.label = failed.index, failed.step.label
  end
  error(raised, 0)
end


--- Sends the statements that wait, and calls the functions for their answers.
function Batch:flush()
  local waiting, texts, count = self.waiting, {}, 0
  if not waiting[1] then
    return
  end

  self.waiting, self.size, self.awaited = {}, 0, false
  for i, each in ipairs(waiting) do
    texts[i], count = each.text, count + each.statements
  end

  local answers, err, _, answered = self.connector:query(table.concat(texts, ";\n"))
  if not answers then
    fail(self, waiting, err, tonumber(answered))
  end

  answers = count > 1 and answers or { answers }
  local at = 1
  for _, each in ipairs(waiting) do
    if each.on_answer then
      envelope.at_step(each.index, each.step, each.on_answer, answers[at])
    end
    at = at + each.statements
  end
end


--- Adds a statement.
-- @param more.on_answer is called with its answer
-- @param more.awaited whether the COMMIT waits until the answer was looked at
-- @param more.statements how many statements the text has; 1 without it
-- @param more.ends whether the text is the COMMIT
function Batch:add(text, more)
  local entry = { text = text, statements = 1, index = self.index, step = self.step }
  for name, value in pairs(more or {}) do
    entry[name] = value
  end

  table.insert(self.waiting, entry)
  self.size, self.awaited = self.size + #text, self.awaited or entry.awaited
  if not self.together or self.size >= MESSAGE then
    self:flush()
  end
end


--- Sets the step whose statements follow. Its errors have the index of the step, from 0.
function Batch:of_step(index, step)
  self.index, self.step = index, step
end


--- Makes a batch.
-- @param together whether statements wait; if not, each is a message of its own
function _M.new(connector, conn, together)
  return setmetatable({ connector = connector, conn = conn, together = together, waiting = {}, size = 0 },
                      Batch)
end


return _M
