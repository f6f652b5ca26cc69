-- Removes a stream with what is kept beside it. ARGV: prefix, '', lost-entries stream. Answers 1, or 0 when there is none.
local kind = call('TYPE', S).ok
if kind ~= 'stream' and kind ~= 'none' then return redis.error_reply('WRONGTYPE not a stream') end
local names = {}
for name in pairs(groups_of_stream()) do
  names[name] = true
end
if P ~= '' then
  for _, name in ipairs(call('SMEMBERS', P .. 'groups')) do
    names[name] = true
  end
  for name in pairs(names) do
    use(name)
    local dead_side = call('HGET', kmeta, 'dead_side')
    if dead_side then call('HDEL', dead_side, 'dead_of') end
    for _, key in ipairs({ kmeta, krow, kdue, kready, kwait, kbusy, kgone }) do
      call('DEL', key)
    end
  end
  for _, producer in ipairs(call('ZRANGE', P .. 'producers', 0, -1)) do
    call('DEL', P .. 'appends:' .. producer, P .. 'append-order:' .. producer)
  end
  call('DEL', kstream, P .. 'groups', P .. 'required', P .. 'producers', ARGV[3])
end
return call('DEL', S)
