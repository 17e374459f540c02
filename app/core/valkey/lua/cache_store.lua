#!lua
-- STORE: keep what was computed, if its leader still is the leader, and end the lease.
--
-- KEYS[1]  entry; KEYS[2]  its lease
-- ARGV[1]  token, empty for one who never had a lease: he stores only while nobody has
-- ARGV[2]  ms for which it is fresh; ARGV[3]  ms after that for which it is stale; ARGV[4]  ms that computing took
-- ARGV[5]  versions of its tags, read before it was computed; ARGV[6]  payload
-- Reply: 1 stored, 0 not
--
-- SETTLE (core/policies/lua/settle.lua, part p) writes entries of the same form.
-- Versions are not compared here: an entry that was computed before an invalidation carries the old ones, so no reader takes it.

if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local fresh = now + ARGV[2]
local stale = fresh + ARGV[3]
local head = string.format('%.0f %.0f %.0f %s %s\n', now, fresh, stale, ARGV[4], ARGV[5])
redis.call('SET', KEYS[1], head .. ARGV[6], 'PX', string.format('%.0f', stale - now + 1))
redis.call('DEL', KEYS[2])
return 1
