#!lua flags=allow-oom
-- Their time begins anew, if they are still pending with us: what somebody else has taken over is his.
--
-- KEYS  stream
-- ARGV  group  consumer  id ...
-- ->    how many are ours
local ours = 0
for i = 3, #ARGV do
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if pending.err then
    if string.sub(pending.err, 1, 7) == 'NOGROUP' then return 0 end
    return pending
  end
  if pending[1] then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')
    ours = ours + 1
  end
end
return ours
