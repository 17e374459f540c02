#!lua flags=allow-oom
-- INVALIDATE: give a tag a new version, which ends every entry with an older one in one step.
--
-- KEYS[1]  tag;  ARGV[1]  its life, ms
-- Reply: the version
--
-- It grows even if the server's clock goes back. A server over its memory limit must run it: serving old data is worse. MGET finds
-- nothing where GET would fail, under a key of another type, which is replaced.

local t = redis.call('TIME')
local version = t[1] * 1000000 + t[2]
local old = tonumber(redis.call('MGET', KEYS[1])[1])
if old and old >= version then version = old + 1 end
version = string.format('%.0f', version)
redis.call('SET', KEYS[1], version, 'PX', ARGV[1])
return version
