#!lua flags=allow-oom
-- Delivers messages of one queue, stream after stream in the order of KEYS: of each, those whose delay is over, then new ones.
-- What an operator deleted meanwhile is passed over; a group that is missing (flushed, restarted, failed over) is made from the beginning
-- of its stream, so that nothing published before it is missed.
--
-- KEYS  stream, its delayed messages, for each priority
-- ARGV  group  consumer  most
-- ->    {number of the stream (1, 2, ..), id, deliveries, body, ...}; or, when there is nothing:
--       {'none', ms until a delay is over or -1, newest id of each stream in the order of KEYS}
local group, consumer, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
local reply, n = {}, 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function add(stream, entry, deliveries)
  local fields = entry[2]
  reply[n + 1], reply[n + 2], reply[n + 3] = stream, entry[1], deliveries
  reply[n + 4] = fields[1] == 'b' and fields[2] or ''
  n = n + 4
end

local function deliver_due(stream, key, later)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', later, '-inf', now, 'LIMIT', 0, most - n / 4)) do
    local pending = redis.pcall('XPENDING', key, group, id, id, 1)
    if pending[1] then
      local entry = redis.call('XCLAIM', key, group, consumer, 0, id)[1]
      if entry then add(stream, entry, pending[1][4] + 1) end
    end
    redis.call('ZREM', later, id)
  end
end

local function deliver_new(stream, key)
  local function read()
    return redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', most - n / 4, 'STREAMS', key, '>')
  end
  local found = read()
  if found and found.err and string.sub(found.err, 1, 7) == 'NOGROUP' then
    redis.call('XGROUP', 'CREATE', key, group, '0', 'MKSTREAM')
    found = read()
  end
  if not found then return end
  if found.err then return found end
  for _, entry in ipairs(found[1][2]) do add(stream, entry, 1) end
end

for i = 1, #KEYS, 2 do
  if n / 4 < most then deliver_due((i + 1) / 2, KEYS[i], KEYS[i + 1]) end
  if n / 4 < most then
    local failed = deliver_new((i + 1) / 2, KEYS[i])
    if failed then return failed end
  end
end
if n > 0 then return reply end

local next_due = -1
reply = {'none', next_due}
for i = 1, #KEYS, 2 do
  local first = redis.call('ZRANGE', KEYS[i + 1], 0, 0, 'WITHSCORES')
  if first[2] then
    local left = math.max(0, tonumber(first[2]) - now)
    if next_due < 0 or left < next_due then next_due = left end
  end
  local facts = redis.call('XINFO', 'STREAM', KEYS[i])
  for at = 1, #facts, 2 do
    if facts[at] == 'last-generated-id' then reply[#reply + 1] = facts[at + 1] end
  end
end
reply[2] = next_due
return reply
