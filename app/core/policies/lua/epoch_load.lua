#!lua flags=allow-oom
-- Puts an account's epoch into the store, or what is newer of it. What is there stays: it may be of a revocation that is just being
-- committed, which nobody could have read yet.
--
-- KEYS  epoch
-- ARGV  ms before which its tokens are over  life in ms  fields of sessions that have ended*
local since = tonumber((redis.call('HGET', KEYS[1], 'n')))
if not since or since < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'n', ARGV[1]) end
for i = 3, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], 1) end
-- An end that was written here is perhaps never committed: being read must not lengthen how long it counts.
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
