#!lua flags=allow-oom
-- Ends tokens of an account at once: all that are older than a time, or those of some sessions.
--
-- KEYS  epoch
-- ARGV  ms before which its tokens are over, or ''  life in ms  fields of sessions that have ended*
--
-- An epoch that is not here is not made whole by this: it is read from the database before anybody is let in, for it may name sessions
-- that ended earlier. What is written here counts at once, and stays when that is read; until then the time stands under `p`.
local field = redis.call('HEXISTS', KEYS[1], 'n') == 1 and 'n' or 'p'
local since = tonumber((redis.call('HGET', KEYS[1], field)))
if ARGV[1] ~= '' and (not since or since < tonumber(ARGV[1])) then redis.call('HSET', KEYS[1], field, ARGV[1]) end
for i = 3, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], 1) end
-- As long as it had, for what is known here is looked up anew from time to time; but not so short that it is over before the commit.
local left = redis.call('PTTL', KEYS[1])
if left < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2])
elseif left < 10000 then redis.call('PEXPIRE', KEYS[1], math.min(10000, tonumber(ARGV[2]))) end
return 1
