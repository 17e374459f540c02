#!lua
-- Puts messages of one queue and priority into their stream, all or none.
--
-- KEYS  stream
-- ARGV  body ...
for i = 1, #ARGV do redis.call('XADD', KEYS[1], '*', 'b', ARGV[i]) end
return #ARGV
