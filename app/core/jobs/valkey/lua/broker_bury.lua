#!lua flags=allow-oom
-- Moves a message to the dead, of which the newest are kept. Nothing happens when it is done with already.
--
-- KEYS  stream, the dead
-- ARGV  group  id  most dead  number of the priority  body  reason
-- ->    1 when it is dead now
local acked = redis.pcall('XACK', KEYS[1], ARGV[1], ARGV[2])
if type(acked) == 'table' then return acked end
local deleted = redis.call('XDEL', KEYS[1], ARGV[2])
if acked + deleted == 0 then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '=', ARGV[3], '*', 'b', ARGV[5], 'p', ARGV[4], 'r', ARGV[6], 'id', ARGV[2])
return 1
