-- An account has been signed in to: from this device, in this network.
-- KEYS: the account's devices, its networks (sorted sets; scores: ms when they are forgotten)
-- ARGV: device or '', network or '', life in ms, most of each kind; the longest unused go first
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for i = 1, 2 do
  if ARGV[i] ~= '' then
    redis.call('ZADD', KEYS[i], now + ARGV[3], ARGV[i])
    redis.call('ZREMRANGEBYRANK', KEYS[i], 0, -1 - ARGV[4])
    redis.call('PEXPIRE', KEYS[i], ARGV[3])
  end
end
return '1'
