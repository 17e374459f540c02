#!lua flags=allow-oom
-- Gives a hold back. Twice is once: the hold's own field says whether it is still there.
--
-- KEYS  account
-- ARGV  rid  [balance (micro)  version]
-- ->    the micro-credits that were freed, as text; false when there is no such hold
local hold = redis.call('HGET', KEYS[1], 'r' .. ARGV[1])
local found = redis.call('HMGET', KEYS[1], 'v', 'h')
if ARGV[3] and found[1] and tonumber(ARGV[3]) > tonumber(found[1]) then
  redis.call('HSET', KEYS[1], 'b', ARGV[2], 'v', ARGV[3])
end
local freed = false
if hold then
  freed = string.match(hold, '^(%d+) ') or '0'
  local left = math.max((tonumber(found[2]) or 0) - tonumber(freed), 0)
  redis.call('HDEL', KEYS[1], 'r' .. ARGV[1])
  if found[1] then redis.call('HSET', KEYS[1], 'h', string.format('%.0f', left)) end
end
if hold or found[1] then redis.call('PEXPIRE', KEYS[1], 3600000, 'GT') end
return freed
