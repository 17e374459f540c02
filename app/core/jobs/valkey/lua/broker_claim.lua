#!lua flags=allow-oom
-- Delivers what its reader has forgotten, and takes readers off the list that are gone. A message that was deleted while it was pending is
-- pending no more. What nobody holds because of its delay is left alone, unless its delay was lost.
--
-- KEYS  stream, its delayed messages, for each priority
-- ARGV  group  consumer  nobody  most  ms after which a message is forgotten  ms after which a reader is gone
-- ->    {number of the stream (1, 2, ..), id, deliveries, body, ...}
local group, consumer, nobody, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local reply, n = {}, 0

local function claim(stream, key, pending)
  local entry = redis.call('XCLAIM', key, group, consumer, 0, pending[1])[1]
  if not entry then return end
  reply[n + 1], reply[n + 2], reply[n + 3] = stream, entry[1], pending[4] + 1
  reply[n + 4] = entry[2][1] == 'b' and entry[2][2] or ''
  n = n + 4
end

local function claim_of(stream, key, later, holder, held)
  local delayed = holder == nobody and redis.call('ZCARD', later) or 0
  if delayed > 0 and delayed >= held then return end
  local found = redis.call('XPENDING', key, group, 'IDLE', ARGV[5], '-', '+', most - n / 4 + delayed, holder)
  for _, pending in ipairs(found) do
    if n / 4 >= most then return end
    if delayed == 0 or not redis.call('ZSCORE', later, pending[1]) then claim(stream, key, pending) end
  end
end

local function forget_readers(key)
  for _, facts in ipairs(redis.call('XINFO', 'CONSUMERS', key, group)) do
    local reader = {}
    for at = 1, #facts, 2 do reader[facts[at]] = facts[at + 1] end
    if reader.pending == 0 and reader.idle >= tonumber(ARGV[6]) then
      redis.call('XGROUP', 'DELCONSUMER', key, group, reader.name)
    end
  end
end

for i = 1, #KEYS, 2 do
  local summary = redis.pcall('XPENDING', KEYS[i], group)
  if summary.err then
    if string.sub(summary.err, 1, 7) ~= 'NOGROUP' then return summary end
  else
    for _, holder in ipairs(summary[4] or {}) do
      if n / 4 < most then claim_of((i + 1) / 2, KEYS[i], KEYS[i + 1], holder[1], tonumber(holder[2])) end
    end
    forget_readers(KEYS[i])
  end
end
return reply
