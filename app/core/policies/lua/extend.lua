#!lua
-- EXTEND: renew the leases of a request that is still being worked on. It cannot bring back what was freed.
--
-- KEYS  one per part
-- ARGV[1]  the request's id; ARGV[2] ms from now on; ARGV[3] the latest end, ms of the server's clock; then a letter per part:
--   i claim, s slot, h hold, e lease of a computation
-- Reply: 1 all are still there (the lease of a computation does not count: without it the answer is just not stored), 0 not

local t = redis.call('TIME')
local now_ms = t[1] * 1000 + math.floor(t[2] / 1000)
local int = function(n) return string.format('%.0f', n) end
local match = string.match
local rid, ends = ARGV[1], math.min(now_ms + tonumber(ARGV[2]), tonumber(ARGV[3]))
local whole = 1

local found = {}
for k = 1, #KEYS do
  local kind = ARGV[k + 3]
  if kind == 's' then found[k] = redis.call('ZSCORE', KEYS[k], rid)
  elseif kind == 'h' then found[k] = redis.call('HGET', KEYS[k], 'r' .. rid)
  else found[k] = redis.call('GET', KEYS[k]) end
end

for k = 1, #KEYS do
  local kind, state = ARGV[k + 3], found[k]
  if kind == 's' then
    -- A lease that is over was given to others already, even if it has not been removed yet.
    if not state or tonumber(state) <= now_ms then whole = 0
    elseif ends > tonumber(state) then
      redis.call('ZADD', KEYS[k], 'XX', int(ends), rid)
      redis.call('PEXPIREAT', KEYS[k], int(ends + 1), 'GT')
    end
  elseif kind == 'h' then
    local micro, expires, settlement
    if state then micro, expires, settlement = match(state, '^(%d+) (%d+) (%S+)$') end
    if not micro then whole = 0
    else
      if ends > tonumber(expires) then
        redis.call('HSET', KEYS[k], 'r' .. rid, micro .. ' ' .. int(ends) .. ' ' .. settlement)
      end
      -- Longer than its longest hold, as in ADMIT.
      redis.call('PEXPIREAT', KEYS[k], int(math.max(now_ms + 3600000, ends + 60000)), 'GT')
    end
  elseif kind == 'i' then
    local head, lease, owner
    if state then head, lease, owner = match(state, '^(P %S+ %d+ )(%d+) (%S+)$') end
    if owner ~= rid then whole = 0
    elseif ends > tonumber(lease) then
      redis.call('SET', KEYS[k], head .. int(ends) .. ' ' .. rid, 'KEEPTTL')
    end
  elseif state == rid and ends > now_ms then
    redis.call('PEXPIREAT', KEYS[k], int(ends), 'GT')
  end
end
return whole
