#!lua flags=allow-oom
-- Gives holds back. Twice is once: a hold's own field says whether it is still there.
--
-- KEYS  account
-- ARGV  balance (micro) or ''  its version or ''  rid ...
-- ->    the micro-credits that were freed by each, as text; false where there is no such hold
local found = redis.call('HMGET', KEYS[1], 'v', 'h')
if ARGV[2] ~= '' and found[1] and tonumber(ARGV[2]) > tonumber(found[1]) then
  redis.call('HSET', KEYS[1], 'b', ARGV[1], 'v', ARGV[2])
end
local freed, held, changed = {}, tonumber(found[2]) or 0, false
for i = 3, #ARGV do
  local hold = redis.call('HGET', KEYS[1], 'r' .. ARGV[i])
  freed[i - 2] = false
  if hold then
    freed[i - 2] = string.match(hold, '^(%d+) ') or '0'
    held, changed = math.max(held - tonumber(freed[i - 2]), 0), true
    redis.call('HDEL', KEYS[1], 'r' .. ARGV[i])
  end
end
if changed and found[1] then redis.call('HSET', KEYS[1], 'h', string.format('%.0f', held)) end
if changed or found[1] then redis.call('PEXPIRE', KEYS[1], 3600000, 'GT') end
return freed
