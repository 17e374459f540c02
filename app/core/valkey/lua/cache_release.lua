#!lua flags=allow-oom
-- RELEASE: give a lease up without storing anything.
--
-- KEYS[1]  lease;  ARGV[1]  token
-- Reply: 1 it was ours, 0 it was not

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
