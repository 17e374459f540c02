#!lua flags=allow-oom
-- Takes accounts that are not in the store any more off the list. One that was listed again a moment ago stays: it is being loaded.
--
-- KEYS  list of accounts
-- ARGV  grace in ms  account ...
-- ->    how many were taken off
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[1])
local gone = 0
for i = 2, #ARGV do
  local listed = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if listed and tonumber(listed) <= oldest then gone = gone + redis.call('ZREM', KEYS[1], ARGV[i]) end
end
redis.call('PEXPIRE', KEYS[1], 86400000)
return gone
