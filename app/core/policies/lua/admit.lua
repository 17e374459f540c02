#!lua
-- ADMIT: decide on all limits of one request, then charge them, in one step.
--
-- KEYS[1]  receipt of this call; KEYS[2..]  one key per limit
-- ARGV[1]  life of the receipt, ms; then five values per limit:
--   kind  g = GCRA (token bucket, throttle), f = fixed window, s = sliding window counter, d = debounce
--   a     g: microseconds a token takes to refill; f, s: window in microseconds; d: quiet time in microseconds
--   b     g: burst * a; f, s: quota; d: unused
--   cost  tokens this call takes; 0 looks without charging
--   flags 1 = charged even when another limit refuses (attempt), 2 = shadow: may refuse without effect
--
-- Reply: "verdict cause now_ms (ok remaining reset_us retry_us)*", all integers. verdict 0 = admitted, 1 = refused; cause is the
-- number of the first limit that refused; retry -1 = never (the cost alone is more than the limit).
--
-- Rules (docs/policies.md): everything is decided before the first write, because Lua is atomic but not transactional; the
-- server's clock is the only clock; integers only; every write carries its TTL; the same receipt answers a repeated call.

local receipt = redis.call('GET', KEYS[1])
if receipt then return receipt end

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local int = function(n) return string.format('%.0f', n) end

local n = #KEYS - 1
local ok, value, ttl, charged, untouched = {}, {}, {}, {}, {}
-- A state from the future (the clock went back, or the limit was larger) is clamped to now; that is kept even if nothing is charged,
-- or a refused caller would be measured against the same far time again and again.
local clamped = {}
local verdict, cause = 0, 0

for i = 1, n do
  local at = 2 + (i - 1) * 5
  local kind, a, b, cost = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local shadow = tonumber(ARGV[at + 4]) >= 2
  local state = redis.call('GET', KEYS[i + 1])
  local pass, retry = true, 0

  if kind == 'g' then
    local stored = tonumber(state) or now
    local tat = min(max(stored, now), now + b)
    if stored > now + b then clamped[i] = int(tat) end
    local after = tat + cost * a
    pass = after - now <= b
    if not pass then retry = cost * a > b and -1 or after - b - now end
    value[i], ttl[i] = int(after), ceil((after - now) / 1000) + 1
    charged[i] = { floor((b - (after - now)) / a), after - now }
    untouched[i] = { floor((b - (tat - now)) / a), tat - now }

  elseif kind == 'd' then
    local last = tonumber(state)
    last = last and min(last, now)
    pass = cost == 0 or not last or now - last >= a
    if not pass then retry = a end
    value[i], ttl[i] = int(now), ceil(a / 1000) + 1
    charged[i] = { 0, a }
    untouched[i] = { (last and now - last < a) and 0 or 1, last and max(last + a - now, 0) or 0 }

  else
    local window, count, previous = floor(now / a), 0, 0
    if state then
      local w, c, p = string.match(state, '^(%d+) (%d+) (%d+)$')
      w, c, p = tonumber(w), tonumber(c), tonumber(p)
      if not w then -- of a limit that was counted in another way under this name: begin anew
      elseif w >= window then count, previous = c, p
      elseif w == window - 1 then previous = c end
      if w and w > window then clamped[i] = int(window) .. ' ' .. int(count) .. ' ' .. int(previous) end
    end
    local left = (window + 1) * a - now
    if kind == 'f' then
      pass = count + cost <= b
      if not pass then retry = cost > b and -1 or left end
      charged[i], untouched[i] = { b - count - cost, left }, { b - count, left }
      ttl[i] = ceil(left / 1000) + 1
    else
      -- estimate = previous * left / a + count, compared without dividing
      pass = previous * left + (count + cost) * a <= b * a
      if not pass then
        if cost > b then retry = -1
        elseif count + cost <= b then retry = ceil(left - (b - cost - count) * a / previous)
        else retry = ceil(left + a - (b - cost) * a / count) end
      end
      local room = b - (previous * left / a + count)
      charged[i], untouched[i] = { floor(room - cost), left }, { max(floor(room), 0), left }
      ttl[i] = ceil((left + a) / 1000) + 1
    end
    value[i] = int(window) .. ' ' .. int(count + cost) .. ' ' .. int(previous)
  end

  if cost == 0 then pass, retry = true, 0 end
  ok[i] = pass
  untouched[i][3] = retry
  if not pass and not shadow and verdict == 0 then verdict, cause = 1, i end
end

local reply = { verdict, cause, int(floor(now / 1000)) }
for i = 1, n do
  local at = 2 + (i - 1) * 5
  local cost, flags = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local take = ok[i] and (verdict == 0 or flags % 2 == 1)
  -- Debounce is re-armed by every attempt, also by a refused one.
  if cost > 0 and (take or ARGV[at] == 'd') then redis.call('SET', KEYS[i + 1], value[i], 'PX', ttl[i])
  elseif cost > 0 and clamped[i] then redis.call('SET', KEYS[i + 1], clamped[i], 'PX', ttl[i]) end
  local state = take and charged[i] or untouched[i]
  reply[#reply + 1] = ok[i] and 1 or 0
  reply[#reply + 1] = int(state[1])
  reply[#reply + 1] = int(state[2])
  reply[#reply + 1] = int(untouched[i][3])
end

reply = table.concat(reply, ' ')
redis.call('SET', KEYS[1], reply, 'PX', ARGV[1])
return reply
