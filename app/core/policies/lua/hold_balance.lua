#!lua flags=allow-oom
-- Brings an account's balance up to what the ledger says. The holds stay as they are, and their sum is counted anew.
--
-- KEYS  account
-- ARGV  balance (micro)  version  mode: "load" also when the account is not here; "sync" only when it is; a number: only over exactly
--       this version, even if it is newer than ours (the ledger lost its last writes in a failover)
-- ->    1 when written, 0 when not
--
-- Balances are written as they were given: Lua's numbers are exact to 2^53, its formatting is not.
local stored = redis.call('HGET', KEYS[1], 'v')
local mode = ARGV[3]
if not stored then
  if mode ~= 'load' then return 0 end
elseif mode == 'load' or mode == 'sync' then
  if tonumber(ARGV[2]) <= tonumber(stored) then return 0 end
elseif tonumber(stored) ~= tonumber(mode) then
  return 0
end
local held = 0
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 1) == 'r' then
    held = held + (tonumber(string.match(fields[i + 1], '^(%d+) ')) or 0)
  end
end
redis.call('HSET', KEYS[1], 'b', ARGV[1], 'v', ARGV[2], 'h', string.format('%.0f', held))
-- An account that was there keeps a longer life, because of its holds. GT does nothing to a key without a life time.
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], 3600000)
else redis.call('PEXPIRE', KEYS[1], 3600000, 'GT') end
return 1
