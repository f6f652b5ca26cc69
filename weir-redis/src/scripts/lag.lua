-- How far behind a group is. ARGV: prefix, group.
-- Answers {undelivered, pending, ready, delayed, dead, age of the oldest undelivered one ('' none), of the longest held
-- one ('' none), arrivals seen, in so many ms, drained, in so many ms, 1 when undelivered was counted}.
local COUNT_MAX, ROWS_MAX, ARRIVALS_MAX, MINUTE = 10000, 10000, 200, 60000
local group = groups_of_stream()[G]
if not group then return no_group() end
promote()
local policy = policy_of()
local conditions = policy.filter and conditions_of(policy.filter)

local looked, matched, first, is_exact = 0, 0, nil, 1
walk('(' .. group['last-delivered-id'], '+', function(entry)
  if looked == COUNT_MAX then
    is_exact = 0
    return false
  end
  looked = looked + 1
  if not conditions or matches(conditions, entry[2]) then
    matched, first = matched + 1, first or entry[1]
  end
end)
local undelivered = matched
if is_exact == 0 then
  local behind = group.lag or call('XLEN', S)
  undelivered = math.max(matched, math.floor(behind * matched / looked))
end
local waiting, ready, delayed = call('ZCARD', kwait), call('ZCARD', kready), call('ZCARD', kdue)
if waiting > 0 then
  for _, member in ipairs(call('ZRANGE', kwait, 0, COUNT_MAX - 1)) do
    local id = unpad(string.sub(member, -41))
    local is_first = not first or is_less(id, first)
    if is_first and #call('XRANGE', S, id, id) > 0 then first = id end
  end
end

local in_flight, oldest_held = 0, nil
for _, pair in ipairs(call('XPENDING', S, G)[4] or {}) do
  if pair[1] ~= PARKED then
    in_flight = in_flight + tonumber(pair[2])
    local at, seen = '-', 0
    repeat
      local page = call('XPENDING', S, G, at, '+', 500, pair[1])
      for _, p in ipairs(page) do
        if not oldest_held or p[3] > oldest_held then oldest_held = p[3] end
        at = '(' .. p[1]
      end
      seen = seen + #page
    until #page < 500 or seen >= ROWS_MAX or at == NONE_ABOVE
  end
end

local recent = call('XREVRANGE', S, '+', int(now - MINUTE) .. '-0', 'COUNT', ARRIVALS_MAX)
local arrivals_in = MINUTE
if #recent == ARRIVALS_MAX then arrivals_in = math.max(1, now - ms_of(recent[#recent][1])) end

local half, c = math.floor(now / 30000), call('HMGET', kmeta, 'drain_half', 'drain_now', 'drain_before')
local drained, drained_in = 0, 30000 + now % 30000
if tonumber(c[1] or -1) == half then
  drained = tonumber(c[2] or 0) + tonumber(c[3] or 0)
elseif tonumber(c[1] or -1) == half - 1 then
  drained = tonumber(c[2] or 0)
end

return { undelivered + waiting, in_flight, ready, delayed, policy.dead and call('XLEN', policy.dead) or 0,
  first and int(math.max(0, now - ms_of(first))) or '', oldest_held or '', #recent, arrivals_in, drained, drained_in,
  is_exact }
