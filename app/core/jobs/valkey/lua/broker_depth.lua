#!lua flags=no-writes
-- How a queue stands. Counted from what is in the streams, because a group's own numbers (lag, pending) are wrong or missing once somebody
-- has trimmed or deleted: all that is in a stream is open, and what is not newer than the group's last delivery was delivered.
--
-- KEYS  stream, its delayed messages, for each priority; the dead
-- ARGV  group
-- ->    {waiting, unacked, dead, ms of the oldest or -1}
local MOST = 1000  -- so many delivered messages are looked at one by one; where there are more, the group's count is taken
local waiting, unacked, oldest = 0, 0, -1

local function last_of(key)
  local groups = redis.pcall('XINFO', 'GROUPS', key)
  if groups.err then return '0-0', 0 end
  for _, facts in ipairs(groups) do
    local group = {}
    for at = 1, #facts, 2 do group[facts[at]] = facts[at + 1] end
    if group.name == ARGV[1] then return group['last-delivered-id'], group.pending end
  end
  return '0-0', 0
end

local function in_hands(key, later, length)
  local last, pending = last_of(key)
  local delivered = redis.call('XRANGE', key, '-', last, 'COUNT', MOST)
  local delayed = redis.call('ZCARD', later)
  if #delivered == MOST then return math.max(0, math.min(pending, length) - delayed) end
  if delayed == 0 then return #delivered end
  local count = 0
  for _, entry in ipairs(delivered) do
    if not redis.call('ZSCORE', later, entry[1]) then count = count + 1 end
  end
  return count
end

for i = 1, #KEYS - 1, 2 do
  local first = redis.call('XRANGE', KEYS[i], '-', '+', 'COUNT', 1)[1]
  if first then
    local ms = tonumber(string.match(first[1], '^%d+'))
    if oldest < 0 or ms < oldest then oldest = ms end
    local length = redis.call('XLEN', KEYS[i])
    local held = in_hands(KEYS[i], KEYS[i + 1], length)
    waiting, unacked = waiting + length - held, unacked + held
  end
end
return {waiting, unacked, redis.call('XLEN', KEYS[#KEYS]), oldest}
