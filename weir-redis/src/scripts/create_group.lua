-- Makes a group. ARGV: prefix, group, side name, origin, ID, 1 when the dead-letter
-- stream is known to be taken, names and values of the policy.
-- Answers 1 when it came to be, 0 when it was made before with this origin.
local side, origin, id = ARGV[3], ARGV[4], ARGV[5]
local kind = call('TYPE', S).ok
if kind ~= 'stream' and kind ~= 'none' then return redis.error_reply('WRONGTYPE not a stream') end
if groups_of_stream()[G] then
  if call('HGET', kmeta, 'origin') == origin then return 0 end
  return redis.error_reply('BUSYGROUP a group of this name exists already')
end
local refusal = take_dead_letters(ARGV, 7)
if refusal then return refusal end
call('XGROUP', 'CREATE', S, G, id, 'MKSTREAM')
for _, key in ipairs({ kmeta, krow, kdue, kready, kwait, kbusy, kgone }) do
  call('DEL', key)
end
call('HSET', kstream, 'side', side)
call('SADD', P .. 'groups', G)
call('HSET', kmeta, 'origin', origin, 'bases', '0-0 ' .. next_epoch())
store_policy(ARGV, 7)
return 1
