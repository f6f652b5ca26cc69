-- Says how much of a stream is kept. ARGV: prefix, '', side name, length, bytes, age, hold ('' = no limit), 1 when a
-- retention is set, be it without limits.
local kind = call('TYPE', S).ok
if kind == 'none' then
  call('XGROUP', 'CREATE', S, 'weir:made', '$', 'MKSTREAM')
  call('XGROUP', 'DESTROY', S, 'weir:made')
elseif kind ~= 'stream' then
  return redis.error_reply('WRONGTYPE not a stream')
end
call('HSET', kstream, 'side', ARGV[3])
for i, name in ipairs({ 'length', 'bytes', 'age', 'hold', 'kept' }) do
  if ARGV[3 + i] == '' then
    call('HDEL', kstream, name)
  else
    call('HSET', kstream, name, ARGV[3 + i])
  end
end
if ARGV[5] == '' then call('HDEL', kstream, 'counted', 'counted_entries', 'counted_to') end
-- Without limits nothing is held, and alerts begin anew.
if ARGV[4] == '' and ARGV[5] == '' and ARGV[6] == '' then call('HDEL', kstream, 'level') end
enforce()
return 0
