-- Ends a group with everything it has pending. ARGV: prefix, group. Answers 1, or 0 when there is none.
if not groups_of_stream()[G] then return 0 end
call('XGROUP', 'DESTROY', S, G)
local dead_side = call('HGET', kmeta, 'dead_side')
if dead_side then call('HDEL', dead_side, 'dead_of') end
for _, key in ipairs({ kmeta, krow, kdue, kready, kwait, kbusy, kgone }) do
  call('DEL', key)
end
call('SREM', P .. 'groups', G)
call('SREM', P .. 'required', G)
return 1
