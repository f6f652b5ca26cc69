-- Puts rows on the pending list as they were elsewhere. ARGV: prefix, group, then per row: ID, consumer ('' none), idle,
-- deliveries, failures, delay ('' none). Answers how many. What the group was not given yet is left out.
local group = groups_of_stream()[G]
if not group then return no_group() end
local policy, last = policy_of(), pad(group['last-delivered-id'])
local n = 0
for at = 3, #ARGV, 6 do
  local id, consumer = ARGV[at], ARGV[at + 1]
  local entry = call('XRANGE', S, id, id)[1]
  if entry and pad(id) <= last then
    if held(id) then
      forget(id, row(id))
      call('XACK', S, G, id)
    end
    local owner = consumer ~= '' and consumer or PARKED
    call('XCLAIM', S, G, owner, 0, id, 'IDLE', ARGV[at + 2], 'RETRYCOUNT', ARGV[at + 3], 'FORCE', 'JUSTID')
    local r = { e = next_epoch(), f = tonumber(ARGV[at + 4]) }
    if r.f == 0 then r.f = nil end
    r.k = policy.key and first_value(entry[2], policy.key) or nil
    local delay = tonumber(ARGV[at + 5])
    if r.k and consumer == '' and call('HEXISTS', kbusy, r.k) == 1 then
      r.s = 'w'
      call('ZADD', kwait, 0, lane(r.k) .. pad(id))
      put(id, r)
    else
      if r.k then call('HINCRBY', kbusy, r.k, 1) end
      if consumer ~= '' then
        put(id, r)
      else
        park(id, r, ARGV[at + 3], delay and now + delay)
      end
    end
    n = n + 1
  end
end
return n
