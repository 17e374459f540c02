#!lua flags=no-writes
-- READ: a value, whether somebody computes it anew, and the server's time, which is the only clock of the cache.
--
-- KEYS[1]  entry or tag; KEYS[2]  its lease (an entry's only)
-- Reply: now_ms, value or nil, 1 if the lease is held
--
-- It declares that it writes nothing, so that a server over its memory limit runs it. MGET finds nothing where GET would fail, under a
-- key of another type: the cache is free to lose what it has.

local t = redis.call('TIME')
local leased = KEYS[2] and redis.call('EXISTS', KEYS[2]) or 0
return { t[1] * 1000 + math.floor(t[2] / 1000), redis.call('MGET', KEYS[1])[1], leased }
