#!lua flags=allow-oom
-- Gives pending messages back: they stay where they are, under their ids, pending with nobody until their delay is over. So they are never
-- in two places or in none.
--
-- KEYS  stream, its delayed messages
-- ARGV  group  nobody  delay in ms  id ...
-- ->    how many were pending
local time = redis.call('TIME')
local due = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3])
local ids = {}
for i = 4, #ARGV do ids[i - 3] = ARGV[i] end
ids[#ids + 1] = 'JUSTID'
local back = redis.pcall('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(ids))
if back.err then
  if string.sub(back.err, 1, 7) == 'NOGROUP' then return 0 end
  return back
end
for _, id in ipairs(back) do redis.call('ZADD', KEYS[2], due, id) end
return #back
