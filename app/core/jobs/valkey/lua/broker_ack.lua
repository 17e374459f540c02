#!lua flags=allow-oom
-- Ends messages: not pending any more, and not in the stream. Both at once, because whatever is still in a stream counts as open.
--
-- KEYS  stream
-- ARGV  group  id ...
-- ->    how many were there
local ids = {}
for i = 2, #ARGV do ids[i - 1] = ARGV[i] end
redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
return redis.call('XDEL', KEYS[1], unpack(ids))
