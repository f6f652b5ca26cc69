-- Gives a consumer named entries that are pending. ARGV: prefix, group, consumer, idle_min, IDs.
-- Answers {now, lease, mark, deliveries}.
local consumer, idle_min = ARGV[3], tonumber(ARGV[4])
local policy = policy_of()
touch(consumer)
promote()
local out, gone, seen = {}, {}, {}
if not pause_end(policy) then
  local ids = {}
  for i = 5, #ARGV do
    if not seen[ARGV[i]] then
      seen[ARGV[i]] = true
      ids[#ids + 1] = pad(ARGV[i])
    end
  end
  table.sort(ids)
  for _, padded in ipairs(ids) do
    local id = unpad(padded)
    local p = held(id)
    local r = p and row(id)
    local state = p and state_of(p, r)
    if p and (state == 'r' or not state and p[3] >= idle_min) then
      -- One by one: one that becomes a dead letter may let go another one.
      give(consumer, { p }, policy, out, gone)
    end
  end
end
return { int(now), policy.lease and int(policy.lease) or '', mark_of(consumer), out }
