#!lua flags=allow-oom
-- Takes a reader off the list where it holds nothing; what it holds would be lost with it.
--
-- KEYS  stream ...
-- ARGV  group  consumer
for _, key in ipairs(KEYS) do
  local pending = redis.pcall('XPENDING', key, ARGV[1], '-', '+', 1, ARGV[2])
  if not pending.err and not pending[1] then redis.call('XGROUP', 'DELCONSUMER', key, ARGV[1], ARGV[2]) end
end
return 0
