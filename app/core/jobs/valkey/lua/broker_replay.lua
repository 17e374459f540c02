#!lua
-- Publishes dead messages again, the oldest first, and takes each from the dead at once.
--
-- KEYS  stream of each priority, the dead
-- ARGV  from ms  to ms or '+'  most
-- ->    {how many, the server's time in ms}
local dead = KEYS[#KEYS]
local found = redis.call('XRANGE', dead, ARGV[1], ARGV[2], 'COUNT', ARGV[3])
for _, entry in ipairs(found) do
  local fields = {}
  for at = 1, #entry[2], 2 do fields[entry[2][at]] = entry[2][at + 1] end
  redis.call('XADD', KEYS[tonumber(fields.p) or 2] or KEYS[2], '*', 'b', fields.b or '')
  redis.call('XDEL', dead, entry[1])
end
local time = redis.call('TIME')
return {#found, time[1] * 1000 + math.floor(time[2] / 1000)}
