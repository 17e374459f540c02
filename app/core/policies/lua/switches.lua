#!lua
-- Publish what is switched off, as the database has it: all of it or, if a newer state stands there, nothing.
--
-- KEYS[1] the hash; ARGV[1] version of the state; ARGV[2] its life, ms; then field and value per switch.
-- The field "@" holds the version: with it "nothing is off" differs from "nobody knows", as after a flush. A state that is restored from a
-- backup is older than what stands here; it gets its turn when the life is over, which only a publisher who wins renews. What is no hash
-- is not ours and says nothing: it is replaced, or nothing could be switched off any more.
-- Reply: 1 published, 0 a newer one stands there.

if redis.call('TYPE', KEYS[1]).ok == 'hash' then
  local stored = tonumber(redis.call('HGET', KEYS[1], '@'))
  if stored and stored > tonumber(ARGV[1]) then return 0 end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], '@', ARGV[1])
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
