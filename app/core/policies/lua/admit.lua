#!lua
-- ADMIT: decide on everything that one request asks for, then take all of it or nothing, in one step.
--
-- KEYS[1]  receipt of this call; then one key per limit; then the keys of the parts, in their order
-- ARGV[1]  life of the receipt, ms; ARGV[2] number of limits; then five values per limit:
--   kind  g = GCRA (token bucket, throttle), f = fixed window, s = sliding window counter, d = debounce
--   a     g: microseconds a token takes to refill; f, s: window in microseconds; d: quiet time in microseconds
--   b     g: burst * a; f, s: quota; d: unused
--   cost  tokens this call takes; 0 looks without charging
--   flags 1 = charged even when another limit refuses (attempt), 2 = shadow: may refuse without effect
-- then, only if there are parts: the request's id, 1 if the circuit is open, and the parts, in this order:
--   e issued_ms session                                        token; key: the account's epoch: n = ms before which its tokens are over,
--                                                              p = the same before the rest was read, and a field for each session that
--                                                              has ended. session: that field
--   c fingerprint lease_ms retention_ms rerun replay_cost      claim of an idempotency key; key: the record
--   l lease_ms must_compute hit_cost tags versions             cache; keys: entry, lease, tags. versions: those of tags elsewhere, or ''.
--                                                              lease_ms 0: only a fresh entry is asked for; without one, 15 and nothing
--   q end_ms limit cost shadow                                 calendar quota; key: the count (any number of these)
--   s most lease_ms shadow                                     slot; key: the set of leases (any number of these)
--   h micro lease_ms settlement_key shadow                     credits; key: the account
--
-- Reply: "verdict cause now_ms (ok remaining reset_us retry_us)*", all integers. verdict as in _ask.py; cause is the number of the
-- first limit that refused; retry -1 = never (the cost alone is more than the limit). With parts follow: generation, ms left of
-- another's claim, 1 for the leader of a computation, credits available or -1, credit (0 fine, 1 held, 2 too little), (ok remaining) per
-- quota, ok per slot; then a line with the tags' versions, then the tail: a result or an entry. "-1 0 0": ask anew under another id.
--
-- Rules (docs/policies.md): everything is decided before the first write, because Lua is atomic but not transactional; the
-- server's clock is the only clock; integers only; every write carries its TTL; the same receipt answers a repeated call.

local n = tonumber(ARGV[2])
local p = 3 + n * 5
local rid = ARGV[p]
local match, sub, format, call = string.match, string.sub, string.format, redis.call

local receipt = call('GET', KEYS[1])
if receipt then
  if not rid then return receipt end
  -- What is long is not in the receipt: it is read again.
  local verdict, versions, k = match(receipt, '^%-?%d+'), match(receipt, '\n(.*)$'), n + 2
  local tail = ''
  if ARGV[p + 2] == 'e' then p, k = p + 3, k + 1 end
  if ARGV[p + 2] == 'c' then
    if verdict == '7' then
      local record = call('GET', KEYS[k])
      local at = record and match(record, '^D %S+ %d+\n()')
      if not at then return '-1 0 0' end
      tail = sub(record, at)
    end
    k = k + 1
    p = p + 6
  end
  if ARGV[p + 2] == 'l' and verdict ~= '7' then
    local entry = call('GET', KEYS[k])
    if entry and match(entry, '^%d+ %d+ %d+ %d+ (%S+)\n') == versions then tail = entry
    elseif verdict == '11' or verdict == '12' then return '-1 0 0' end
  end
  return receipt .. '\n' .. tail
end

local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
-- Lua prints a number of more than 14 digits with an exponent; shorter ones (times in ms, counts) are printed as they are.
local int = function(n) return format('%.0f', n) end
local now_ms = floor(now / 1000)

local ok, value, ttl, charged, untouched = {}, {}, {}, {}, {}
-- A state from the future (the clock went back, or the limit was larger) is clamped to now; that is kept even if nothing is charged,
-- or a refused caller would be measured against the same far time again and again.
local clamped = {}
-- stopped: a limit on attempts refuses, and nothing further is told. dry: nothing at all is written. free: attempts are not charged.
local verdict, cause, stopped, dry, free = 0, 0, false, false, false

for i = 1, n do
  local at = 3 + (i - 1) * 5
  local kind, a, b, cost = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local shadow = tonumber(ARGV[at + 4]) >= 2
  local state = call('GET', KEYS[i + 1])
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
  if not pass and not shadow then
    if cause == 0 then cause = i end
    if ARGV[at + 4] == '1' then stopped = true end
  end
end
if cause > 0 then verdict = 1 end

local generation, left, leader, available, credit = 0, 0, 0, -1, 0
local versions, tail = '-', ''
local claim, lookup, hold, missing
local quotas, slots = {}, {}

if rid then
  local open, at, k = ARGV[p + 1] == '1', p + 2, n + 2
  verdict = stopped and 1 or 0

  if ARGV[at] == 'e' then
    if verdict == 0 then
      local epoch = call('HMGET', KEYS[k], 'n', ARGV[at + 2], 'p')
      if epoch[2] or tonumber(ARGV[at + 1]) < max(tonumber(epoch[1]) or 0, tonumber(epoch[3]) or 0) then verdict = 16
      elseif not epoch[1] then verdict, dry = 17, true end
    end
    at, k = at + 3, k + 1
  end
  local first = k

  if ARGV[at] == 'c' then
    if verdict == 0 then
      local record = call('GET', KEYS[k])
      if not record then generation = 1
      else
        local state, fingerprint, g, rest = match(record, '^([PD]) (%S+) (%d+)[ \n]()')
        generation = tonumber(g) or 0
        if not state then verdict = 10
        elseif fingerprint ~= ARGV[at + 1] then verdict = 9
        elseif state == 'D' then
          verdict, tail, free = 7, sub(record, rest), ARGV[at + 5] == '0'
        else
          left = max((tonumber(match(record, '^%d+', rest)) or 0) - now_ms, 0)
          if left > 0 then verdict = 8
          elseif ARGV[at + 4] == '1' then generation = generation + 1
          else verdict = 10 end
        end
      end
      claim = at
    end
    at, k = at + 6, k + 1
  end

  if ARGV[at] == 'l' then
    local tags = tonumber(ARGV[at + 4])
    if verdict == 0 then
      if ARGV[at + 5] ~= '' then versions = ARGV[at + 5]
      elseif tags > 0 then
        local seen = call('MGET', unpack(KEYS, k + 2, k + 1 + tags))
        for j = 1, tags do
          if not tonumber(seen[j]) then
            -- Never set, expired, evicted or no number: a new value, so that no entry of before is valid again.
            seen[j] = int(now)
            missing = missing or {}
            missing[#missing + 1] = KEYS[k + 1 + j]
          end
        end
        versions = table.concat(seen, ',')
      end
      local must, fresh = ARGV[at + 2] == '1', false
      local entry = call('GET', KEYS[k])
      if entry then
        local created, until_fresh, until_gone, theirs = match(entry, '^(%d+) (%d+) (%d+) %d+ (%S+)\n')
        if theirs == versions and now_ms < tonumber(until_gone) then
          -- One from the future is of before the clock went back: nobody knows how old it is.
          tail, fresh = entry, now_ms < tonumber(until_fresh) and tonumber(created) <= now_ms
        end
      end
      if fresh and not must then verdict = 11
      elseif ARGV[at + 1] == '0' then verdict, dry, tail = 15, true, ''
      elseif open then verdict = tail ~= '' and 12 or 14
      elseif call('EXISTS', KEYS[k + 1]) == 0 then leader, lookup = 1, at
      elseif not must then verdict = tail ~= '' and 12 or 13 end
      if verdict == 11 or verdict == 12 then free = ARGV[at + 3] == '0' end
    end
    at, k = at + 6, k + 2 + tags
  end
  if open and verdict == 0 then verdict = 14 end

  -- What is taken only if all agree. After a refusal of a limit on attempts it is looked at as well: the caller is told all at once.
  local asked = verdict <= 1
  local over, quota_refuses, slot_refuses, hold_refuses = false, false, false, 0
  while ARGV[at] == 'q' do
    if asked then
      local count, limit, cost = tonumber(call('GET', KEYS[k])) or 0, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
      local ends = tonumber(ARGV[at + 1])
      local pass = cost == 0 or count + cost <= limit
      if now_ms >= ends then over = true
      elseif not pass and ARGV[at + 4] == '0' then quota_refuses = true end
      quotas[#quotas + 1] = { KEYS[k], pass, count, limit, cost, ends }
    end
    at, k = at + 5, k + 1
  end
  while ARGV[at] == 's' do
    if asked then
      local most, held, stale = tonumber(ARGV[at + 1]), call('ZCARD', KEYS[k]), 0
      if held >= most then
        stale = held - call('ZCOUNT', KEYS[k], '(' .. now_ms, '+inf')
      end
      local pass = held - stale < most
      if not pass and ARGV[at + 3] == '0' then slot_refuses = true end
      slots[#slots + 1] = { KEYS[k], pass, held, stale, tonumber(ARGV[at + 2]) }
    end
    at, k = at + 4, k + 1
  end
  local cold = false
  if ARGV[at] == 'h' and asked then
    local account, micro = call('HMGET', KEYS[k], 'b', 'h'), tonumber(ARGV[at + 1])
    -- Beyond 2^53 doubles are not exact: a larger balance counts as that much.
    local balance, held = tonumber(account[1]), tonumber(account[2]) or 0
    if not balance then cold = true
    else
      balance = min(balance, 9007199254740992)
      available = max(balance - held, 0)
      if balance - held < micro then credit = balance >= micro and 1 or 2 end
      -- In shadow nothing is held: others of this account must not have less for it.
      if ARGV[at + 4] == '0' then
        if credit == 0 then hold = { KEYS[k], micro, held, at } else hold_refuses = credit end
      end
    end
  end

  if verdict == 0 then
    if hold_refuses == 2 then verdict = 4
    elseif cause > 0 then verdict = 1
    elseif quota_refuses then verdict = 2
    elseif slot_refuses then verdict = 3
    elseif hold_refuses == 1 then verdict = 5
    elseif over then verdict, dry = 15, true
    elseif cold then verdict, dry = 6, true end
  end

  if missing and not dry then
    for j = 1, #missing do call('SET', missing[j], int(now), 'PX', 1209600000) end
  end
  if verdict == 0 then
    if claim then
      call('SET', KEYS[first], 'P ' .. ARGV[claim + 1] .. ' ' .. generation .. ' ' ..
        now_ms + ARGV[claim + 2] .. ' ' .. rid, 'PX', ARGV[claim + 3])
    end
    if lookup then
      call('SET', KEYS[first + (claim and 2 or 1)], rid, 'PX', ARGV[lookup + 1])
    end
    for j = 1, #quotas do
      local q = quotas[j]
      if q[2] and q[5] > 0 then call('SET', q[1], int(q[3] + q[5]), 'PX', q[6] - now_ms) end
    end
    for j = 1, #slots do
      local s = slots[j]
      if s[2] then
        -- The leases that are over have the lowest scores; at most 100 go at once.
        if s[4] > 0 then call('ZREMRANGEBYRANK', s[1], 0, min(s[4], 100) - 1) end
        call('ZADD', s[1], now_ms + s[5], rid)
        -- A lease of another endpoint may be longer: the set lives as long as its longest. GT does nothing to a set without a life time.
        if s[3] <= s[4] then call('PEXPIRE', s[1], s[5] + 1)
        else call('PEXPIRE', s[1], s[5] + 1, 'GT') end
      end
    end
    if hold then
      call('HSET', hold[1], 'h', int(hold[3] + hold[2]), 'r' .. rid,
        ARGV[hold[4] + 1] .. ' ' .. now_ms + ARGV[hold[4] + 2] .. ' ' .. ARGV[hold[4] + 3])
      -- An hour from the last write, and longer than its longest hold: GT never shortens, and the account came with a life time.
      call('PEXPIRE', hold[1], max(3600000, ARGV[hold[4] + 2] + 60000), 'GT')
    end
  else
    generation, leader = verdict == 7 and generation or 0, 0
    if verdict < 7 then tail = '' end
  end
end

local reply = { verdict, cause, now_ms }
for i = 1, n do
  local at = 3 + (i - 1) * 5
  local cost, flags = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local may = verdict == 0 or (not dry and not free and flags % 2 == 1)
  local take = ok[i] and may
  -- Debounce is re-armed by every attempt, also by a refused one.
  if cost > 0 and (take or (ARGV[at] == 'd' and not dry and not free)) then
    call('SET', KEYS[i + 1], value[i], 'PX', ttl[i])
  elseif cost > 0 and clamped[i] and not dry then call('SET', KEYS[i + 1], clamped[i], 'PX', ttl[i]) end
  local state = take and charged[i] or untouched[i]
  reply[#reply + 1] = ok[i] and 1 or 0
  reply[#reply + 1] = state[1]
  reply[#reply + 1] = int(state[2])
  reply[#reply + 1] = int(untouched[i][3])
end
if not rid then
  reply = table.concat(reply, ' ')
  call('SET', KEYS[1], reply, 'PX', ARGV[1])
  return reply
end

local m = #reply
reply[m + 1], reply[m + 2], reply[m + 3], reply[m + 4], reply[m + 5] = generation, left, leader, int(available), credit
m = m + 5
for j = 1, #quotas do
  local q = quotas[j]
  reply[m + 1], reply[m + 2] = q[2] and 1 or 0, int(max(q[4] - q[3] - ((verdict == 0 and q[2]) and q[5] or 0), 0))
  m = m + 2
end
for j = 1, #slots do reply[m + j] = slots[j][2] and 1 or 0 end
reply = table.concat(reply, ' ') .. '\n' .. versions
if not dry then call('SET', KEYS[1], reply, 'PX', ARGV[1]) end
return reply .. '\n' .. tail
