-- Whether an account knows this device, and this network. KEYS as in remember_places.lua; ARGV: device or '', network or ''.
-- Reply: "1 0" and the like.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local known = {}
for i = 1, 2 do
  local score = ARGV[i] ~= '' and tonumber(redis.call('ZSCORE', KEYS[i], ARGV[i]))
  known[i] = score and score > now and 1 or 0
end
return known[1] .. ' ' .. known[2]
