#!lua flags=allow-oom
-- Ends tokens of an account at once: all that are older than a time, or those of some sessions.
--
-- KEYS  epoch
-- ARGV  ms before which its tokens are over, or ''  life in ms  fields of sessions that have ended*
--
-- An epoch that is not here gets no time by sessions alone: without one it is read from the database before anybody is let in, and what
-- is written here stays when it is.
local since = tonumber((redis.call('HGET', KEYS[1], 'n')))
if ARGV[1] ~= '' and (not since or since < tonumber(ARGV[1])) then redis.call('HSET', KEYS[1], 'n', ARGV[1]) end
for i = 3, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], 1) end
-- As long as it had, for what is known here is looked up anew from time to time; but not so short that it is over before the commit.
local left = redis.call('PTTL', KEYS[1])
if left < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif left < 10000 then redis.call('PEXPIRE', KEYS[1], math.min(10000, tonumber(ARGV[2]))) end
return 1
