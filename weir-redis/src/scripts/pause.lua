-- Pauses a group, or ends a pause. ARGV: prefix, group, duration in ms, 'inf' or '' to end it.
if not groups_of_stream()[G] then return no_group() end
if ARGV[3] == '' then
  call('HDEL', kmeta, 'pause')
else
  call('HSET', kmeta, 'pause', ARGV[3] == 'inf' and 'inf' or int(now + tonumber(ARGV[3])))
  call('SADD', P .. 'groups', G)
end
return 0
