#!lua flags=allow-oom
-- Puts an account's epoch into the store, or what is newer of it. What is there stays: it may be of a revocation that is just being
-- committed, which nobody could have read yet.
--
-- KEYS  epoch
-- ARGV  ms before which its tokens are over  life in ms  fields of sessions that have ended*
local since = ARGV[1]
for _, field in ipairs({'n', 'p'}) do
  local known = redis.call('HGET', KEYS[1], field)
  if known and tonumber(known) > tonumber(since) then since = known end
end
redis.call('HSET', KEYS[1], 'n', since)
for i = 3, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], 1) end
-- An end that was written here is perhaps never committed: being read must not lengthen how long it counts.
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
