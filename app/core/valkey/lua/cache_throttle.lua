#!lua flags=allow-oom
-- THROTTLE: computing failed; let the stale entry count as fresh for a while, and give the lease up.
--
-- KEYS[1]  entry; KEYS[2]  its lease;  ARGV[1]  token; ARGV[2]  ms
-- Reply: 1 it counts as fresh, 0 it does not: the lease was not ours, or no entry is left
--
-- Its end does not move: what could be shown until noon may still be shown until noon only.

if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local value = redis.call('GET', KEYS[1])
local created, stale, rest
if value then created, stale, rest = string.match(value, '^(%d+) %d+ (%d+) (.*)$') end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('DEL', KEYS[2])
if not stale or tonumber(stale) <= now then return 0 end
local fresh = string.format('%.0f', math.min(now + ARGV[2], tonumber(stale)))
redis.call('SET', KEYS[1], created .. ' ' .. fresh .. ' ' .. stale .. ' ' .. rest, 'KEEPTTL')
return 1
