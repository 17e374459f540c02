#!lua flags=no-writes
-- What of an account is over. Takes nothing away: who frees a hold asks the ledger first.
--
-- KEYS  account
-- ARGV  most holds to name
-- ->    {version or -1 when the account is not here, number of its holds, rid, micro, settlement key, rid, ...}
local found = redis.call('HMGET', KEYS[1], 'v', 'h')
local version = tonumber(found[1])
if not version then return {-1, 0} end
local reply = {version, 0}
if found[2] == '0' then return reply end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, n, open = tonumber(ARGV[1]), 2, 0
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 1) == 'r' then
    local micro, expires, settlement = string.match(fields[i + 1], '^(%d+) (%d+) (.*)$')
    open = open + 1
    if expires and tonumber(expires) <= now and n < most * 3 + 2 then
      reply[n + 1], reply[n + 2], reply[n + 3] = string.sub(fields[i], 2), micro, settlement
      n = n + 3
    end
  end
end
reply[2] = open
return reply
