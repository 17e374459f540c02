#!lua flags=allow-oom
-- SETTLE and ABORT: end what ADMIT took. Each part does nothing if it was ended before, so the call may be repeated.
--
-- KEYS[1]  receipt of the admission; then one key per part
-- ARGV[1]  the request's id; ARGV[2] life of the mark, ms, that what the limits had taken was given back; 0: nothing is given back;
-- then the parts:
--   i fingerprint generation retention_ms done blob   the claim becomes a result (done = 1) or is deleted, if it is still ours
--   s                                                 the slot is freed
--   h balance version                                 the hold is released; a newer balance (or '' '') is taken over
--   q cost                                            quota is given back
--   g a cost                                          so is a token bucket (a: microseconds a token takes to refill)
--   w window cost                                     so is a window, by its number; the one after it counts it as its previous
--   p fresh_ms stale_ms delta_ms versions payload     what was computed is kept (as in cache_store.lua), if the lease is still ours;
--                                                     the next part must be e with that lease
--   e                                                 the lease of a computation is given up, if it is still ours
--
-- Reply: "fenced late". fenced: the claim belongs to somebody else by now; late: a slot's or hold's lease was over and it was freed.
--
-- It frees memory, so it runs on a full server too; calls with p use more and are sent without that flag (_settlement.py). KEEPTTL: what is changed keeps the life time that it has.

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local match, max = string.match, math.max
local int = function(n) return string.format('%.0f', n) end

local rid = ARGV[1]
local sizes = { i = 6, s = 1, h = 3, q = 2, g = 3, w = 3, p = 6, e = 1 }
local fenced, late = 0, 0
local given_back = ARGV[2] ~= '0' and redis.call('GET', KEYS[1]) == '-1 0 0'

-- Read everything first: after this no write can fail, and a repeated call never meets half of it.
local found, at = {}, 3
for k = 2, #KEYS do
  local kind = ARGV[at]
  if kind == 's' then found[k] = redis.call('ZSCORE', KEYS[k], rid)
  elseif kind == 'h' then found[k] = redis.call('HMGET', KEYS[k], 'v', 'h', 'r' .. rid)
  elseif kind ~= 'p' then found[k] = redis.call('GET', KEYS[k]) end
  at = at + sizes[kind]
end

at = 3
for k = 2, #KEYS do
  local kind, state = ARGV[at], found[k]
  if kind == 'i' then
    local ours = not state or match(state, '^P %S+ %d+ %d+ (%S+)$') == rid
    if not ours then
      -- Told again: the result that stands there is of this generation, so it is ours.
      if ARGV[at + 4] ~= '1' or match(state, '^D %S+ (%d+)\n') ~= ARGV[at + 2] then fenced = 1 end
    elseif ARGV[at + 4] == '1' then
      redis.call('SET', KEYS[k], 'D ' .. ARGV[at + 1] .. ' ' .. ARGV[at + 2] .. '\n' .. ARGV[at + 5], 'PX', ARGV[at + 3])
    elseif state then redis.call('DEL', KEYS[k]) end

  elseif kind == 's' then
    if state then redis.call('ZREM', KEYS[k], rid) end
    if not state or tonumber(state) <= now / 1000 then late = 1 end

  elseif kind == 'h' then
    local version, held, hold = state[1], tonumber(state[2]) or 0, state[3]
    if hold then
      redis.call('HDEL', KEYS[k], 'r' .. rid)
      redis.call('HSET', KEYS[k], 'h', int(max(held - tonumber(match(hold, '^%d+')), 0)))
    else late = 1 end
    -- An account that is not in the store stays out of it: it is loaded whole.
    if version and ARGV[at + 2] ~= '' and tonumber(ARGV[at + 2]) > tonumber(version) then
      redis.call('HSET', KEYS[k], 'b', ARGV[at + 1], 'v', ARGV[at + 2])
    end
    if version or hold then redis.call('PEXPIRE', KEYS[k], 3600000, 'GT') end

  elseif kind == 'p' then
    if found[k + 1] == rid then
      local ms = math.floor(now / 1000)
      local fresh = ms + ARGV[at + 1]
      local stale = fresh + ARGV[at + 2]
      local head = string.format('%.0f %.0f %.0f %s %s\n', ms, fresh, stale, ARGV[at + 3], ARGV[at + 4])
      redis.call('SET', KEYS[k], head .. ARGV[at + 5], 'PX', int(stale - ms + 1))
    end

  elseif kind == 'e' then
    if state == rid then redis.call('DEL', KEYS[k]) end

  elseif state and not given_back then
    if kind == 'q' then
      redis.call('SET', KEYS[k], int(max((tonumber(state) or 0) - tonumber(ARGV[at + 1]), 0)), 'KEEPTTL')
    elseif kind == 'g' then
      local arrival = tonumber(state)
      if arrival then
        arrival = arrival - tonumber(ARGV[at + 1]) * tonumber(ARGV[at + 2])
        if arrival > now then redis.call('SET', KEYS[k], int(arrival), 'KEEPTTL') else redis.call('DEL', KEYS[k]) end
      end
    else
      local w, count, previous = match(state, '^(%d+) (%d+) (%d+)$')
      local window, cost = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
      if tonumber(w) == window then count = int(max(count - cost, 0))
      elseif tonumber(w) == window + 1 then previous = int(max(previous - cost, 0))
      else w = nil end
      if w then redis.call('SET', KEYS[k], w .. ' ' .. count .. ' ' .. previous, 'KEEPTTL') end
    end
  end
  at = at + sizes[kind]
end

if ARGV[2] ~= '0' then redis.call('SET', KEYS[1], '-1 0 0', 'PX', ARGV[2]) end
return fenced .. ' ' .. late
