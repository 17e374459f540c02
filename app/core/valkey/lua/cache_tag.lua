#!lua
-- TAG: the version of a tag; one that was never set, has expired, was evicted or is no number gets a new one, which no entry has.
--
-- KEYS[1]  tag;  ARGV[1]  its life, ms
-- Reply: the version
--
-- MGET finds nothing where GET would fail, under a key of another type.

local version = redis.call('MGET', KEYS[1])[1]
if version and string.find(version, '^%d+$') then return version end
local t = redis.call('TIME')
version = string.format('%.0f', t[1] * 1000000 + t[2])
redis.call('SET', KEYS[1], version, 'PX', ARGV[1])
return version
