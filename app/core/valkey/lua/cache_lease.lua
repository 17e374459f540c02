#!lua
-- LEASE: become the one who computes an entry, unless somebody else is.
--
-- KEYS[1]  entry; KEYS[2]  its lease;  ARGV[1]  token; ARGV[2]  life of the lease, ms
-- Reply: now_ms, value or nil, 1 if the lease is ours now
--
-- It tells the entry as well, because another leader may have stored it since it was read. MGET: as in READ.

local t = redis.call('TIME')
local value = redis.call('MGET', KEYS[1])[1]
local taken = redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
return { t[1] * 1000 + math.floor(t[2] / 1000), value, taken and 1 or 0 }
