-- Hands dead letters back to their group. ARGV: prefix, group, 1 for a dry run, then per letter: its ID, the entry's ID,
-- redrives.
-- Answers a text with a letter for each: r redriven, g the entry is gone, x there is no such letter any more.
local group = groups_of_stream()[G]
if not group then return no_group() end
local policy, is_dry, last = policy_of(), ARGV[3] == '1', pad(group['last-delivered-id'])
local replies = {}
for at = 4, #ARGV, 3 do
  local letter, id, redrives = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local entry = call('XRANGE', S, id, id)[1]
  if #call('XRANGE', policy.dead, letter, letter) == 0 then
    replies[#replies + 1] = 'x'
  elseif not entry then
    replies[#replies + 1] = 'g'
  else
    -- What the group is given anyway, since it was moved back, needs no row.
    if not is_dry and not held(id) and pad(id) <= last then
      local r = { r = redrives + 1, k = policy.key and first_value(entry[2], policy.key) or nil }
      call('XCLAIM', S, G, PARKED, 0, id, 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
      if r.k and call('HEXISTS', kbusy, r.k) == 1 then
        r.s = 'w'
        call('ZADD', kwait, 0, lane(r.k) .. pad(id))
      else
        r.s = 'r'
        if r.k then call('HINCRBY', kbusy, r.k, 1) end
        call('ZADD', kready, 0, pad(id))
      end
      put(id, r)
    end
    if not is_dry then call('XDEL', policy.dead, letter) end
    replies[#replies + 1] = 'r'
  end
end
return table.concat(replies)
