#!lua flags=allow-oom
-- Puts an account on the list of those that the sweeper looks after.
--
-- KEYS  list of accounts
-- ARGV  account
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
redis.call('PEXPIRE', KEYS[1], 86400000)
return 1
